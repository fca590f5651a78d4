-- state is what commit is built on: the time, the life of a job, what the
-- reports of a shard touch, and the records that they append.

local call = redis.call
local clock = call("TIME")
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- OWN is the byte that begins the key of an operation which its caller did not name.
local OWN = string.byte("~")

-- datasets_of begins the keys of pins of a topic's datasets. Those name the topic, since a job may name any
-- dataset, and pins none of another topic.
local function datasets_of(topic)
  return "d:" .. topic .. "/"
end

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
local function over(state)
  return not live(state)
end

-- The life of a job. from: the states a report is accepted in; to: the state
-- afterwards. make: it may create the job. start: it opens an attempt. wait: it
-- closes the attempt, and the next one becomes the current one. ask: it asks something
-- of the job's run. stop: the end. remove: the job goes. tick: it never reaches the outbox. A chain, since a
-- table of all would be built anew for every call.
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
  elseif kind == "job.artifact" then
    return { from = running }
  elseif kind == "job.retrying" or kind == "job.stalled" then
    return { wait = true, from = running, to = "retrying" }
  elseif kind == "job.paused" then
    return { wait = true, from = running, to = "paused" }
  elseif kind == "job.awaiting" then
    return { wait = true, from = running, to = "awaiting" }
  elseif kind == "job.canceling" then
    return { cancel = true, ask = true, from = live }
  elseif kind == "job.pausing" then
    return { pause = true, ask = true, from = live }
  elseif kind == "job.resumed" then
    return { resume = true, from = live }
  elseif kind == "job.failed" then
    return { stop = true, from = live, to = "failed" }
  elseif kind == "job.canceled" then
    return { stop = true, from = live, to = "canceled" }
  elseif kind == "job.removed" then
    return { remove = true, from = over }
  elseif kind == "job.receiving" then
    return { make = true, from = never, to = "receiving" }
  end
end

-- What the reports of a shard touch, read once.
local jobs, topics, touched, heads

-- How many attempts the reports of a shard start. A start is numbered when it is decided, so
-- that its mark does not depend on what else is in the call.
local begun

-- load reads the fields of a job that every report needs. Others are read by get:
-- at, the current attempt; c, the job's own constants; g and e, what the view shows
-- of progress and of the outcome; r, n of the last record; ri, the IDs of the last
-- batch; af, the artifacts in the view; ca, where its run's are, which goes with the checkpoint; ky, the operation's key that it was made with, and
-- kl, what frees that; cc, percent of the checkpoint; s0, the first start. fl holds letters: c, it
-- is to be canceled; p, it is to be paused; k, it is a child; i, it inherited a
-- checkpoint; a, it is adopted: an asynq task that is not Tidemark's carries it; w, it was
-- paused while it awaited its children; d, it has a deadline.
local function load(id)
  local j = jobs[id]
  if not j then
    local key = prefix .. "j:" .. id
    local f = call("HMGET", key, "t", "st", "fk", "sq", "p", "v", "fl", "ty", "pa", "af")
    local flags = f[7]
    j = {
      id = id, key = key, set = {}, sets = 0, topic = f[1], state = f[2], fence = f[3], seq = tonumber(f[4] or 0),
      tenths = tonumber(f[5] or 0), view = f[6], type = f[8], parent = f[9], ids = false, beat = nil, ended = false, made = false,
      canceling = flags and flagged(flags, "c"), pausing = flags and flagged(flags, "p"),
      child = flags and flagged(flags, "k"), inherits = flags and flagged(flags, "i"),
      adopted = flags and flagged(flags, "a"), awaits = flags and flagged(flags, "w"),
      dated = flags and flagged(flags, "d"), turned = false, files = f[10] or "",
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

-- flag keeps what was asked of a job, or what it is.
local function flag(j)
  put(j, "fl", (j.canceling and "c" or "") .. (j.pausing and "p" or "") .. (j.child and "k" or "") ..
    (j.inherits and "i" or "") .. (j.adopted and "a" or "") .. (j.awaits and "w" or "") .. (j.dated and "d" or ""))
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

-- append keeps a record for the second phase; j is the job that it is about, in state.
local function append(h, topic, id, previous, record, tick, answer, j, state)
  h.bytes, h.length = h.bytes + #record, h.length + 1
  appends[#appends + 1] = { topic, id, previous, record, tick, answer, j, state }
end

-- tell appends a record that shows a job as it now is, and returns its ID and n. It is
-- one concatenation, since every intermediate string would be hashed and kept. e is empty
-- while an attempt is active.
local function tell(j, kind, tick, progress, extra, answer)
  local state = j.state
  local alive = live(state)
  local h, id, n, previous = place(j.topic)
  append(h, j.topic, id, previous, '{"id":"' .. id .. '","type":"' .. kind .. '","time":"' .. time .. '","topic":"' ..
    j.topic .. '","job":{"id":"' .. j.id .. '","rev":' .. n .. j.view .. ',"state":"' .. state .. '","percent":' ..
    percent(j.tenths) .. ((j.canceling and alive) and ',"canceling":true' or "") ..
    ((j.pausing and alive) and ',"pausing":true' or "") ..
    j.files .. ((progress ~= "" and alive) and progress or get(j, "g")) .. (active(state) and "" or get(j, "e")) .. "}" .. extra .. "}",
    tick, answer, j, state)
  put(j, "r", n)
  if (j.made or j.ended) and not h.live then
    -- How many jobs live. It fails now, not later, if the key holds something else.
    h.live = call("ZCOUNT", prefix .. "x:" .. j.topic, "+inf", "+inf")
  end
  if not j.listed then
    j.listed = true
    touched[#touched + 1] = j
  end
  return id, n
end

-- pointer is the key that holds the job of an asynq task. The queue's length keeps two
-- tasks apart whatever their names are.
local function pointer(queue, task)
  return prefix .. "a:" .. #queue .. ":" .. queue .. ":" .. task
end

-- frees reports whether a job's end has freed the key that it was made with.
local function frees(j)
  if live(j.state) then
    return false
  end
  local life = get(j, "kl")
  return life == "while_live" or (life == "until_failed" and j.state ~= "succeeded")
end

-- enlist adds artifacts, a list as JSON, to those that the view shows. One that it shows stays as it
-- is. It returns an answer where there would be too many.
local function enlist(j, list)
  local files, count = j.files, select(2, string.gsub(j.files, "{", ""))
  for artifact in string.gmatch(list, "{[^}]*}") do
    if not string.find(files, string.match(artifact, '^{"id":"[^"]*"'), 1, true) then
      count = count + 1
      files = (files == "" and ',"artifacts":[' or string.sub(files, 1, -2) .. ",") .. artifact .. "]"
    end
  end
  if count > ARTIFACTS then
    return "-state " .. j.state .. ", and has " .. int(ARTIFACTS) .. " artifacts"
  end
  j.files = files
  put(j, "af", files)
end

-- untimed is what progress shows while nothing measures it: no time left, with which the
-- fragment ends, see Shown.append.
local function untimed(progress)
  return (string.gsub(progress, ',"eta_seconds":%d+$', ""))
end

-- settled is what progress shows once a job has ended: no missing total either, with which the
-- fragment begins.
local function settled(progress)
  return (string.gsub(untimed(progress), '^,"indeterminate":true', ""))
end

-- close ends a job: outcome is what it came to.
local function close(j, to, outcome)
  j.state, j.beat, j.ended = to, false, true
  put(j, "st", to)
  put(j, "g", settled(get(j, "g")))
  put(j, "e", outcome .. ',"ended_at":"' .. time .. '"')
end
