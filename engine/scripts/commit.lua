-- commit takes a batch of reports, and answers each with what became of it. It first
-- decides about every report, then appends, then moves the hashes (write.lua): Redis
-- does not roll a script back, and the first write is the one that fails when memory
-- is short, so nothing has moved when it does.
--
-- KEYS are the logs of the shards that the reports are of (one on Redis Cluster, any
-- number elsewhere); for each there stands, first in ARGV, how many arguments its
-- reports take. Then the reports follow, shard by shard:
--   type, job, fence, seq, percent, progress, count, then count names and values.
-- A report with a fence, "<attempt>.<token>", comes from a run, and seq is its
-- number within the attempt. One without is an operation; the fence that stands in
-- one that makes a receiving job is its receiver's from then on. progress is a JSON
-- fragment; "" keeps what is there. Names that begin with @ are for this script:
--   @op       the operation's key; it is applied once
--   @topic    whom the record is for; a run's job knows
--   @attempt  the attempt that an operation is about, which must be the current one
--   @beat     that attempt's last heartbeat, which must still be it
--   @outcome  JSON fragment: what the attempt or the job came to
--   @extra    JSON fragment of the record beside the job
-- All others are fields of the job's hash. Fragments begin with a comma.
--
-- Answers: "+<id>" committed, "=<id>" was committed before, "-<reason> <detail>"
-- refused, "!<error>" could not be appended. An operation on a job has "<job> <n>"
-- in place of the ID. A started attempt is answered with a list: the fields that
-- the run needs, then that string.

local call = redis.call
local clock = call("TIME")
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Days to a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date
-- Algorithms", civil_from_days.
local function rfc3339(ms)
  local floor = math.floor
  local s = floor(ms / 1000)
  local z = floor(s / 86400) + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return format("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month,
    doy - floor((153 * mp + 2) / 5) + 1, floor(s / 3600) % 24, floor(s / 60) % 60, s % 60, ms % 1000)
end

local time, stamp = rfc3339(now), int(now) .. "-"

-- percent prints tenths as JSON: 614 is 61.4, 620 is 62.
local function percent(tenths)
  local rest = tenths % 10
  if rest == 0 then
    return int(tenths / 10)
  end
  return format("%d.%d", math.floor(tenths / 10), rest)
end

-- A state is live until the job's end, active while an attempt may report.
local function live(state)
  return state ~= "succeeded" and state ~= "failed" and state ~= "canceled"
end
local function active(state)
  return state == "running" or state == "receiving"
end
local function running(state)
  return state == "running"
end
local function waiting(state)
  return state == "queued" or state == "retrying"
end
local function never()
  return false
end

-- The life of a job. from: the states a report is accepted in; to: the state
-- afterwards. make: it may create the job. start: it opens an attempt. wait: it
-- closes the attempt, and the next one becomes the current one. stop: the end.
-- tick: it never reaches the outbox. A chain, since a table of all would be built
-- anew for every call.
local function rule_of(kind)
  if kind == "job.progress" then
    return { tick = true, from = active }
  elseif kind == "job.checkpoint" then
    return { tick = true, keep = true, from = active }
  elseif kind == "job.started" then
    return { start = true, from = waiting, to = "running" }
  elseif kind == "job.succeeded" then
    return { stop = true, from = running, to = "succeeded" }
  elseif kind == "job.queued" then
    return { make = true, wait = true, from = active, to = "queued" }
  elseif kind == "job.stage" or kind == "job.log" then
    return { from = active }
  elseif kind == "job.retrying" or kind == "job.stalled" then
    return { wait = true, from = running, to = "retrying" }
  elseif kind == "job.paused" then
    return { wait = true, from = running, to = "paused" }
  elseif kind == "job.canceling" then
    return { cancel = true, from = live }
  elseif kind == "job.failed" then
    return { stop = true, from = live, to = "failed" }
  elseif kind == "job.canceled" then
    return { stop = true, from = live, to = "canceled" }
  elseif kind == "job.receiving" then
    return { make = true, from = never, to = "receiving" }
  end
end

-- What the reports of a shard touch, read once.
local jobs, topics, touched, heads

-- load reads the fields of a job that every report needs. Others are read by get:
-- at, the current attempt; c, the job's own constants; g and e, what the view shows
-- of progress and of the outcome; r, n of the last record; ri, the IDs of the last
-- batch; cc, percent of the checkpoint; s0, the first start.
local function load(id)
  local j = jobs[id]
  if not j then
    local key = prefix .. "j:" .. id
    local f = call("HMGET", key, "t", "st", "fk", "sq", "p", "v", "cx")
    j = {
      id = id, key = key, set = {}, sets = 0, topic = f[1], state = f[2], fence = f[3], seq = tonumber(f[4] or 0),
      tenths = tonumber(f[5] or 0), view = f[6], canceling = f[7], ids = false, beat = nil, ended = false, made = false,
    }
    jobs[id] = j
  end
  return j
end

-- put changes a field of a job, to be written with all others of it at the end.
local function put(j, name, value)
  local set, n = j.set, j.sets
  set[n + 1] = name
  set[n + 2] = value
  j.sets = n + 2
end

-- get reads a field that load leaves out.
local function get(j, name)
  local set = j.set
  for i = j.sets - 1, 1, -2 do
    if set[i] == name then
      return set[i + 1]
    end
  end
  return call("HGET", j.key, name)
end

-- Records to append; results by operation key, and the topic that each is about.
local appends, ops, owners

-- place gives the topic's next record its place: the topic's head, and the record's
-- ID, its n and the ID before it.
local function place(topic)
  local h = topics[topic]
  if not h then
    h = head(topic)
    h.began = h.kept and h.ms or 0
    topics[topic] = h
    heads[#heads + 1] = topic
  end
  local previous = h.id
  if h.ms < now then
    h.ms, h.stamp = now, stamp
  elseif not h.stamp then
    h.stamp = int(h.ms) .. "-"
  end
  h.n = h.n and h.n + 1 or now
  local n = int(h.n)
  h.id = h.stamp .. n
  return h, h.id, n, previous
end

-- append keeps a record for the second phase.
local function append(h, topic, id, previous, record, tick, answer)
  h.bytes, h.length = h.bytes + #record, h.length + 1
  appends[#appends + 1] = { topic, id, previous, record, tick, answer }
end

-- fenced decides about a run's report. It returns nil to go on, or the answer.
local function fenced(j, rule, fence, seq)
  local state = j.state
  if j.fence == fence then
    local last = j.seq
    if seq <= last then
      -- The IDs of the run's last batch are kept, so that a repeated batch is
      -- answered as it was.
      local ids = {}
      for id in string.gmatch(get(j, "ri") or "", "[^,]+") do
        ids[#ids + 1] = id
      end
      return "=" .. (ids[#ids - (last - seq)] or "")
    end
    if active(state) then
      if seq ~= last + 1 then
        return "-gap " .. int(last)
      end
      return nil
    end
  end
  if not live(state) then
    return "-ended " .. state
  end
  if rule.start and seq == 1 and get(j, "at") == string.match(fence, "^%d+") and rule.from(state) then
    return nil
  end
  return "-superseded " .. get(j, "at")
end

-- operated decides about an operation on a job that exists.
local function operated(j, rule, with)
  local attempt, beat = with["@attempt"], with["@beat"]
  if j.topic ~= with["@topic"] then
    return "-unknown "
  end
  if (rule.make and with.c) or (rule.cancel and j.canceling and not attempt and live(j.state)) then
    return "=" .. j.id .. " " .. get(j, "r")
  end
  if not live(j.state) then
    return "-ended " .. j.state
  end
  if (attempt and get(j, "at") ~= attempt) or (beat and call("HGET", prefix .. "beat", j.id) ~= beat) then
    return "-superseded " .. get(j, "at")
  end
end

-- make gives a new job its first fields.
local function make(j, rule, with, fence)
  local constant = with.c .. ',"created_at":"' .. time .. '"'
  with.c = nil
  j.topic, j.state, j.view, j.made = with["@topic"], "", constant, true
  put(j, "t", j.topic)
  put(j, "p", "0")
  put(j, "at", with["@attempt"])
  put(j, "c", constant)
  put(j, "v", constant)
  put(j, "g", "")
  put(j, "e", "")
  if rule.to == "receiving" then
    put(j, "fk", fence)
    put(j, "sq", "0")
    j.fence = fence
  end
end

-- start opens an attempt.
local function start(j, fence)
  local attempt = string.match(fence, "^%d+")
  local began = get(j, "s0")
  if not began then
    began = time
    put(j, "s0", time)
  end
  local view = get(j, "c") .. ',"attempt":' .. attempt .. ',"started_at":"' .. began .. '"'
  if attempt ~= "1" then
    view = view .. ',"resumed_from":' .. percent(tonumber(get(j, "cc") or 0))
  end
  j.fence, j.view, j.beat = fence, view, attempt .. ".0"
  put(j, "fk", fence)
  put(j, "v", view)
  put(j, "g", "")
  put(j, "e", "")
  return attempt == "1" and "job.started" or "job.resumed"
end

-- move changes a job as an accepted report says, and appends its record. It returns
-- the record's ID and n.
local function move(j, kind, rule, fence, tenths, progress, with, answer)
  local state, outcome, extra = j.state, "", ""
  if with then
    outcome, extra = with["@outcome"] or "", with["@extra"] or ""
    for name, value in pairs(with) do
      if string.byte(name) ~= 64 then
        put(j, name, value)
      end
    end
  end
  -- A canceled job does not wait for another attempt, one that has no worker to stop
  -- ends at once, and one whose worker is lost has been stopped.
  if (rule.cancel and not running(state)) or (j.canceling and (rule.wait or (with and with["@beat"]))) then
    kind, outcome = "job.canceled", ""
    rule = rule_of(kind)
  end
  if tenths and tenths > j.tenths then
    j.tenths = tenths < 999 and tenths or 999
    put(j, "p", int(j.tenths))
  end
  if rule.start then
    kind = start(j, fence)
  end
  if progress ~= "" then
    put(j, "g", progress)
  end
  if rule.cancel then
    j.canceling = "1"
    put(j, "cx", "1")
  elseif rule.keep then
    put(j, "cc", int(j.tenths))
    put(j, "cr", "0")
  elseif rule.wait and state ~= "" then
    put(j, "at", int(tonumber(get(j, "at")) + 1))
    if state == "receiving" then
      -- What has arrived need not arrive again: attempts go on from there.
      put(j, "cc", int(j.tenths))
    end
    if kind == "job.stalled" then
      put(j, "cr", int(tonumber(get(j, "cr") or 0) + 1))
    end
    put(j, "e", outcome)
    j.beat = false
  elseif rule.stop then
    put(j, "e", outcome .. ',"ended_at":"' .. time .. '"')
    j.beat, j.ended = false, true
    if rule.to == "succeeded" then
      j.tenths = 1000
      put(j, "p", "1000")
    end
  end
  if rule.to then
    state = rule.to
    j.state = state
    put(j, "st", state)
  end
  local h, id, n, previous = place(j.topic)
  -- One concatenation, since every intermediate string would be hashed and kept. e is
  -- empty while an attempt is active.
  append(h, j.topic, id, previous, '{"id":"' .. id .. '","type":"' .. kind .. '","time":"' .. time .. '","topic":"' ..
    j.topic .. '","job":{"id":"' .. j.id .. '","rev":' .. n .. j.view .. ',"state":"' .. state .. '","percent":' ..
    percent(j.tenths) .. ((j.canceling and live(state)) and ',"canceling":true' or "") ..
    (progress ~= "" and progress or get(j, "g")) .. (active(state) and "" or get(j, "e")) .. "}" .. extra .. "}",
    rule.tick, answer)
  put(j, "r", n)
  if (j.made or j.ended) and not j.indexed then
    -- Fails now, not later, if the key holds something else.
    j.indexed = call("ZSCORE", prefix .. "x:" .. j.topic, j.id) or true
  end
  if not j.listed then
    j.listed = true
    touched[#touched + 1] = j
  end
  return id, n
end

local answers, starts = {}, {}
local count = 0

-- decide is phase one, for the reports in ARGV from at to last.
local function decide(at, last)
  while at <= last do
    local kind, id, fence, seq = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local tenths, progress, fields = tonumber(ARGV[at + 4]), ARGV[at + 5], ARGV[at + 6]
    local with
    at = at + 7
    if fields ~= "0" then
      with = {}
      for _ = 1, tonumber(fields) do
        with[ARGV[at]] = ARGV[at + 1]
        at = at + 2
      end
    end
    count = count + 1

    local answer
    local op = with and with["@op"]
    local done = op and (ops[op] or call("GET", prefix .. "op:" .. op))
    if done then
      answer = "=" .. done
    elseif id == "" then
      local topic = with["@topic"]
      local h, rid, _, previous = place(topic)
      append(h, topic, rid, previous, '{"id":"' .. rid .. '","type":"' .. kind .. '","time":"' .. time ..
        '","topic":"' .. topic .. '"' .. with["@extra"] .. "}", false, count)
      answer = "+" .. rid
      ops[op], owners[op] = rid, topic
    else
      local rule, j = rule_of(kind), load(id)
      if not j.state then
        if rule.make and seq == "" and with.c then
          make(j, rule, with, fence)
        else
          answer = "-unknown "
        end
      elseif seq ~= "" then
        answer = fenced(j, rule, fence, tonumber(seq))
      else
        answer = operated(j, rule, with)
      end
      if not answer and j.state ~= "" and not rule.from(j.state) then
        answer = "-state " .. j.state
      end
      if not answer then
        local rid, n = move(j, kind, rule, fence, tenths, progress, with, count)
        if seq ~= "" then
          j.seq = tonumber(seq)
          j.ids = j.ids and j.ids .. "," .. rid or rid
          put(j, "sq", seq)
          put(j, "ri", j.ids)
          answer = "+" .. rid
        else
          answer = "+" .. id .. " " .. n
          if op then
            ops[op], owners[op] = id .. " " .. n, j.topic
          end
        end
      end
      if rule.start and running(j.state) and string.find(answer, "^[+=]") then
        starts[count] = j
      end
    end
    answers[count] = answer
  end
end
