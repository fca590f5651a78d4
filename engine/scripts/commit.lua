-- commit takes a batch of reports of one shard, and answers each with what became
-- of it. It first decides about every report, then appends, then moves the hashes:
-- Redis does not roll a script back, and the first write is the one that fails
-- when memory is short, so nothing has moved when it does.
--
-- ARGV holds the reports one after another:
--   type, topic, job, op, attempt, token, seq, percent, progress, outcome, extra,
--   count of further hash fields, then that many names and values.
-- A report with an op key is an operation: applied once per key. One without
-- comes from a run, and (attempt, token, seq) is its fence. progress, outcome and
-- extra are JSON fragments that begin with a comma; "" keeps what is there.
--
-- Answers: "+<id>" committed, "=<id>" was committed before, "-<reason> <detail>"
-- refused. A started attempt is answered with a list: that string, then the fields
-- the run needs.

local clock = redis.call("TIME")
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
  return string.format("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month,
    doy - floor((153 * mp + 2) / 5) + 1, floor(s / 3600) % 24, floor(s / 60) % 60, s % 60, ms % 1000)
end

local time = rfc3339(now)

local function percent(tenths)
  local rest = tenths % 10
  if rest == 0 then
    return tostring(tenths / 10)
  end
  return math.floor(tenths / 10) .. "." .. rest
end

-- The life of a job. from: the states a report is accepted in; to: the state
-- afterwards. make: it may create the job. start: it opens an attempt. wait: it
-- closes the attempt, and the next one becomes the current one. stop: the end.
-- tick: it never reaches the outbox.
local live = { receiving = true, queued = true, running = true, retrying = true, paused = true }
local active = { receiving = true, running = true }
local running = { running = true }
local rules = {
  ["job.receiving"] = { make = true, from = {}, to = "receiving" },
  ["job.queued"] = { make = true, wait = true, from = active, to = "queued" },
  ["job.started"] = { start = true, from = { queued = true, retrying = true }, to = "running" },
  ["job.progress"] = { tick = true, from = active },
  ["job.checkpoint"] = { tick = true, from = active },
  ["job.stage"] = { from = active },
  ["job.log"] = { from = active },
  ["job.paused"] = { wait = true, from = running, to = "paused" },
  ["job.retrying"] = { wait = true, from = running, to = "retrying" },
  ["job.stalled"] = { wait = true, from = running, to = "retrying" },
  ["job.canceling"] = { from = live },
  ["job.succeeded"] = { stop = true, from = running, to = "succeeded" },
  ["job.failed"] = { stop = true, from = live, to = "failed" },
  ["job.canceled"] = { stop = true, from = live, to = "canceled" },
}

local names = {
  "t", "st", "c", "a", "g", "e", "p", "r", "at", "fa", "tk", "sq", "ri", "cx", "cc", "s0",
}
-- What a run is given when its attempt starts; the worker reads them in this order.
local given = { "ty", "pl", "cp", "mr", "rt", "cr", "dl", "p", "cc", "q" }

local jobs, topics, touched, heads = {}, {}, {}, {}

local function load(id)
  local j = jobs[id]
  if j then
    return j
  end
  local f = redis.call("HMGET", prefix .. "j:" .. id, unpack(names))
  j = { id = id, set = {} }
  for i = 1, #names do
    j[names[i]] = f[i] or nil
  end
  j.p, j.at, j.fa, j.sq = tonumber(j.p), tonumber(j.at), tonumber(j.fa), tonumber(j.sq)
  jobs[id] = j
  return j
end

-- put changes a field of a job, to be written with all others of it at the end.
local function put(j, name, value)
  j[name] = value
  j.set[name] = value
end

local function topic_head(topic)
  local h = topics[topic]
  if not h then
    h = head(topic)
    h.length = redis.call("XLEN", prefix .. "s:" .. topic)
    if h.length == 0 then
      h.bytes = 0
    end
    topics[topic] = h
    heads[#heads + 1] = topic
  end
  return h
end

local appends, milestones, ops = {}, {}, {}

-- append gives the record its ID and keeps it for the second phase.
local function append(topic, kind, body, tick)
  local h = topic_head(topic)
  local previous = h.id
  h.ms = math.max(h.ms, now)
  h.n = h.n and h.n + 1 or now
  local n = int(h.n)
  h.id = int(h.ms) .. "-" .. n
  local record = '{"id":"' .. h.id .. '","type":"' .. kind .. '","time":"' .. time ..
    '","topic":"' .. topic .. '"' .. body(n) .. "}"
  h.bytes = h.bytes + #record
  h.length = h.length + 1
  appends[#appends + 1] = { topic, h.id, previous, record, tick }
  return h.id, n
end

-- fenced decides about a run's report. It returns nil to go on, or the answer.
local function fenced(j, rule, attempt, token, seq)
  if j.fa == attempt and j.tk == token then
    if seq <= j.sq then
      -- The IDs of the run's last batch are kept, so that a repeated batch is
      -- answered as it was.
      local i, back = 0, j.sq - seq
      for id in string.gmatch(j.ri, "[^,]+") do
        i = i + 1
      end
      local k = 0
      for id in string.gmatch(j.ri, "[^,]+") do
        k = k + 1
        if k == i - back then
          return "=" .. id
        end
      end
      return "="
    end
    if not live[j.st] then
      return "-ended " .. j.st
    end
    if j.at ~= attempt then
      return "-superseded " .. j.at
    end
    if seq ~= j.sq + 1 then
      return "-gap " .. int(j.sq)
    end
    return nil
  end
  if not live[j.st] then
    return "-ended " .. j.st
  end
  if rule.start and j.at == attempt and j.fa ~= attempt then
    return nil
  end
  return "-superseded " .. j.at
end

-- Phase one: decide.

local answers = {}
local at, count = 1, 0

while at <= #ARGV do
  local kind, topic, id, op = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local attempt, token, seq = tonumber(ARGV[at + 4]), ARGV[at + 5], tonumber(ARGV[at + 6])
  local tenths, progress = tonumber(ARGV[at + 7]), ARGV[at + 8]
  local outcome, extra, fields = ARGV[at + 9], ARGV[at + 10], tonumber(ARGV[at + 11])
  local first = at + 12
  at = first + 2 * fields
  count = count + 1

  local answer
  if op ~= "" then
    local done = ops[op] or redis.call("GET", prefix .. "op:" .. op)
    if done then
      answer = "=" .. done
    end
  end

  if answer then
    -- Repeated.
  elseif id == "" then
    local rid = append(topic, kind, function()
      return extra
    end)
    answer = "+" .. rid
    ops[op] = rid
  else
    local rule, j = rules[kind], load(id)
    local exists = j.st ~= nil
    if not exists and rule.make and not seq then
      j.st, j.t, j.a, j.g, j.e, j.p = "", topic, "", "", "", 0
      put(j, "t", topic)
      put(j, "p", 0)
      put(j, "at", attempt)
      put(j, "a", "")
      put(j, "g", "")
      put(j, "e", "")
      if rule.to == "receiving" then
        put(j, "fa", attempt)
        put(j, "tk", token)
        put(j, "sq", 0)
        put(j, "ri", "")
      end
      j.made = true
    elseif not exists then
      answer = "-unknown "
    elseif j.t ~= topic then
      answer = "-unknown "
    elseif rule.make and seq == nil then
      answer = "=" .. id .. " " .. j.r
    elseif seq then
      answer = fenced(j, rule, attempt, token, seq)
    elseif not live[j.st] then
      answer = "-ended " .. j.st
    elseif attempt and (j.at ~= attempt or
        (token ~= "" and redis.call("HGET", prefix .. "beat", id) ~= token)) then
      answer = "-superseded " .. j.at
    elseif kind == "job.canceling" and j.cx then
      answer = "=" .. id .. " " .. j.r
    end
    if not answer and not j.made and not rule.from[j.st] then
      answer = "-state " .. j.st
    end

    if not answer then
      -- A canceled job does not wait for another attempt, and one that has no
      -- attempt to stop ends at once.
      if (kind == "job.canceling" and not active[j.st]) or (rule.wait and j.cx) then
        kind, rule = "job.canceled", rules["job.canceled"]
        outcome = ""
      end
      if kind == "job.canceling" then
        put(j, "cx", "1")
      end
      for i = first, at - 1, 2 do
        put(j, ARGV[i], ARGV[i + 1])
      end
      if j.made and not j.born then
        j.born = true
        put(j, "c", j.c .. ',"created_at":"' .. time .. '"')
      end
      if tenths and tenths > j.p then
        put(j, "p", math.min(tenths, 999))
      end
      if progress ~= "" then
        put(j, "g", progress)
      end
      if rule.start then
        if attempt > 1 then
          kind = "job.resumed"
        end
        put(j, "fa", attempt)
        put(j, "tk", token)
        if not j.s0 then
          put(j, "s0", time)
        end
        local from = ""
        if attempt > 1 then
          from = ',"resumed_from":' .. percent(tonumber(j.cc or 0))
        end
        put(j, "a", ',"attempt":' .. int(attempt) .. ',"started_at":"' .. j.s0 .. '"' .. from)
        put(j, "g", "")
        put(j, "e", "")
        j.beat = int(attempt) .. ".0"
      elseif rule.wait and not j.made then
        put(j, "at", j.at + 1)
        put(j, "e", outcome)
        j.beat = false
      elseif rule.stop then
        put(j, "e", outcome .. ',"ended_at":"' .. time .. '"')
        j.beat = false
        j.ended = true
        if kind == "job.succeeded" then
          put(j, "p", 1000)
        end
      elseif kind == "job.checkpoint" then
        put(j, "cc", j.p)
        put(j, "cr", 0)
      end
      if rule.to then
        put(j, "st", rule.to)
      end

      local rid, rev = append(topic, kind, function(n)
        local canceling = (j.cx and live[j.st]) and ',"canceling":true' or ""
        return ',"job":{"id":"' .. id .. '","rev":' .. n .. j.c .. ',"state":"' .. j.st ..
          '","percent":' .. percent(j.p) .. canceling .. j.a .. j.g .. j.e .. "}" .. extra
      end, rule.tick)
      put(j, "r", rev)
      if seq then
        put(j, "sq", seq)
        -- IDs of this batch only, the newest 64.
        j.ids = (j.ids and j.ids .. "," or "") .. rid
        put(j, "ri", j.ids)
      end
      answer = "+" .. rid
      if not seq then
        answer = "+" .. id .. " " .. rev
        if op ~= "" then
          ops[op] = id .. " " .. rev
        end
      end
      if not j.listed then
        j.listed = true
        touched[#touched + 1] = j
      end
    end
    if rule and rule.start and string.find(answer, "^[+=]") then
      answer = { answer, id }
    end
  end
  answers[count] = answer
end

-- Phase two: append. The first of these is the script's first write.

local shard = redis.call("HMGET", prefix .. "head", "ms", "k", "groups", "refreshed")
local log, out = KEYS[1], prefix .. "out"
if #appends > 0 then
  local ms, k = math.max(tonumber(shard[1] or 0), now), tonumber(shard[2] or 0)
  local grouped = shard[3] and shard[3] ~= ""
  for i = 1, #appends do
    local a = appends[i]
    k = k + 1
    local entry = int(ms) .. "-" .. int(k)
    redis.call("XADD", prefix .. "s:" .. a[1], a[2], "p", a[3], "r", a[4])
    redis.call("XADD", log, entry, "t", a[1], "i", a[2], "p", a[3], "r", a[4])
    if grouped and not a[5] then
      redis.call("XADD", out, entry, "t", a[1], "i", a[2], "p", a[3], "r", a[4])
    end
  end

  -- Phase three: move the hashes, then trim.

  redis.call("HSET", prefix .. "head", "ms", int(ms), "k", int(k))
  redis.call("XTRIM", log, "MINID", "~", int(now - LOG_AGE_MS))
  if redis.call("XLEN", log) > LOG_ENTRIES then
    redis.call("XTRIM", log, "MAXLEN", "~", LOG_ENTRIES)
  end
  if now - tonumber(shard[4] or 0) > LOG_AGE_MS or now < tonumber(shard[4] or 0) then
    redis.call("PEXPIRE", log, 4 * LOG_AGE_MS)
    redis.call("HSET", prefix .. "head", "refreshed", int(now))
  end
end

for i = 1, #touched do
  local j = touched[i]
  local key, args = prefix .. "j:" .. j.id, {}
  for name, value in pairs(j.set) do
    args[#args + 1] = name
    args[#args + 1] = type(value) == "number" and int(value) or value
  end
  redis.call("HSET", key, unpack(args))
  if j.beat then
    redis.call("HSET", prefix .. "beat", j.id, j.beat)
  elseif j.beat == false then
    redis.call("HDEL", prefix .. "beat", j.id)
  end
  if j.made and not j.ended then
    redis.call("ZADD", prefix .. "live", int(now), j.id)
    redis.call("ZADD", prefix .. "x:" .. j.t, "+inf", j.id)
    redis.call("PERSIST", prefix .. "x:" .. j.t)
  elseif j.ended then
    local index = prefix .. "x:" .. j.t
    redis.call("ZREM", prefix .. "live", j.id)
    redis.call("ZADD", index, j.r, j.id)
    redis.call("PEXPIRE", key, RETENTION_MS)
    if j.st == "succeeded" then
      redis.call("HDEL", key, "cp", "cc")
    end
    -- Every end looks at the two oldest ended jobs, so the index is pruned as
    -- fast as it grows.
    local old = redis.call("ZRANGE", index, 0, 1)
    for o = 1, #old do
      if redis.call("EXISTS", prefix .. "j:" .. old[o]) == 0 then
        redis.call("ZREM", index, old[o])
      end
    end
    if redis.call("ZCOUNT", index, "+inf", "+inf") == 0 then
      redis.call("PEXPIRE", index, RETENTION_MS)
    end
  end
end

for key, result in pairs(ops) do
  redis.call("SET", prefix .. "op:" .. key, result, "PX", OP_TTL_MS)
end

for i = 1, #heads do
  local topic = heads[i]
  local h, key, stream = topics[topic], prefix .. "m:" .. topic, prefix .. "s:" .. topic
  if h.id ~= "0-0" and #appends > 0 then
    -- Oldest entries go while the stream is over a bound; an eighth more of the
    -- bytes than needed, so that this is not done for every record.
    if h.length > TOPIC_ENTRIES or h.bytes > TOPIC_BYTES then
      local goal = h.bytes > TOPIC_BYTES and TOPIC_BYTES * 7 / 8 or TOPIC_BYTES
      while h.length > 1 and (h.length > TOPIC_ENTRIES or h.bytes > goal) do
        local oldest, from = redis.call("XRANGE", stream, "-", "+", "COUNT", 65), 1
        while from < #oldest and (h.length > TOPIC_ENTRIES or h.bytes > goal) do
          h.bytes = h.bytes - #oldest[from][2][4]
          h.length = h.length - 1
          from = from + 1
        end
        redis.call("XTRIM", stream, "MINID", oldest[from][1])
        if h.length <= 1 then
          -- The count is only as good as the hands that touched the stream.
          h.length, h.bytes = 1, #oldest[from][2][4]
        end
      end
    end
    if now - h.refreshed > REFRESH_MS or now < h.refreshed then
      h.refreshed = now
      redis.call("PEXPIRE", stream, TOPIC_TTL_MS)
      redis.call("HSET", key, "ms", int(h.ms), "n", int(h.n), "bytes", h.bytes, "refreshed", int(now))
      redis.call("PEXPIRE", key, HEAD_TTL_MS)
    else
      redis.call("HSET", key, "ms", int(h.ms), "n", int(h.n), "bytes", h.bytes)
    end
  end
end

for i = 1, count do
  local answer = answers[i]
  if type(answer) == "table" then
    local f = redis.call("HMGET", prefix .. "j:" .. answer[2], unpack(given))
    f[#f + 1] = answer[1]
    answers[i] = f
  end
end

return answers
