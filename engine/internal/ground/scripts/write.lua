-- write is the second half of commit: it comes after commit.lua, which decides, and
-- appends and moves what was decided.

-- Topics whose stream took no record, and why; whether anything was written yet.
local failed, wrote = {}, false

-- bound keeps a stream of the shard within a number of bytes without reading it. The head
-- has marks of it, "<ms>-<k>:<bytes>,", at every sixteenth of the bound: a record, and the
-- bytes of all records ever appended up to that one. fresh are new marks. bound
-- drops what is before the newest mark that still leaves the stream almost full. It returns
-- how many records those are, and the last of them.
local function bound(stream, marks, fresh, bytes, most)
  if fresh == "" then
    return 0
  end
  local kept, cut, last = {}, nil, nil
  for ms, k, at in string.gmatch((call("HGET", prefix .. "head", marks) or "") .. fresh, "(%d+)-(%d+):(%d+),") do
    if bytes - tonumber(at) > most * 15 / 16 then
      last, cut = ms .. "-" .. k, ms .. "-" .. int(tonumber(k) + 1)
    else
      kept[#kept + 1] = ms .. "-" .. k .. ":" .. at .. ","
    end
  end
  call("HSET", prefix .. "head", marks, table.concat(kept))
  return cut and call("XTRIM", stream, "MINID", cut) or 0, last
end

-- cap keeps the outbox within a number of entries, like bound. It drops no more than 1000 at
-- once, since it has to read them.
local function cap(stream)
  local length = call("XLEN", stream)
  local over = math.min(length - OUT_ENTRIES, 1000)
  if over <= 0 then
    return 0
  end
  local oldest = call("XRANGE", stream, "-", "+", "COUNT", over)
  return call("XTRIM", stream, "MAXLEN", int(length - over)), oldest[over][1]
end

-- weigh adds a record to the bytes of a stream, and its mark to fresh where one is due.
local function weigh(bytes, fresh, record, most, entry)
  local sum, step = bytes + #record, most / 16
  if math.floor(bytes / step) ~= math.floor(sum / step) then
    fresh = fresh .. entry .. ":" .. int(sum) .. ","
  end
  return sum, fresh
end

-- write is phase two, of all records of a shard. The first of them is the script's
-- first write; it returns Redis's error when that is not taken. A record that cannot be
-- appended because a key is not what it should be fails its topic alone.
local function write(shard)
  local ms, k = 0, 0
  if shard[1] then
    ms, k = parts(shard[1])
  end
  local before = ms
  if ms < now then
    ms = now
  end
  local log, out, first = prefix .. "log", shard[2] and shard[2] ~= "" and prefix .. "out", k
  local stamp = int(ms) .. "-"
  local bytes, out_bytes, marks, out_marks = tonumber(shard[3] or 0), tonumber(shard[4] or 0), "", ""
  for i = 1, #appends do
    local a = appends[i]
    local topic = a[1]
    if not failed[topic] then
      local reply = a[2] == "" or redis.pcall("XADD", prefix .. "s:" .. topic, a[2], "p", a[3], "r", a[4])
      if type(reply) == "table" and reply.err then
        -- An error that is not about the key is about Redis, which finds no memory or
        -- no room on its disk, and nothing was written yet.
        local own = string.find(reply.err, "WRONGTYPE", 1, true) or string.find(reply.err, "equal or smaller", 1, true)
        if not wrote and not own then
          return reply
        end
        failed[topic] = reply.err
      else
        wrote = true
        k = k + 1
        local entry = stamp .. int(k)
        local j = a[7]
        if j then
          call("XADD", log, entry, "t", topic, "i", a[2], "p", a[3], "r", a[4], "j", j.id, "ty", j.type or "", "st", a[8], "pa", j.parent or "")
        else
          call("XADD", log, entry, "t", topic, "i", a[2], "p", a[3], "r", a[4])
        end
        bytes, marks = weigh(bytes, marks, a[4], LOG_BYTES, entry)
        if out and not a[5] then
          call("XADD", out, entry, "t", topic, "i", a[2], "p", a[3], "r", a[4])
          out_bytes, out_marks = weigh(out_bytes, out_marks, a[4], OUT_BYTES, entry)
        end
      end
    end
    if failed[topic] then
      answers[a[6]] = "!" .. failed[topic]
      starts[a[6]] = nil
    end
  end

  if k > first then
    call("HSET", prefix .. "head", "id", stamp .. int(k), "bytes", int(bytes))
    bound(log, "marks", marks, bytes, LOG_BYTES)
    local dropped, lost = 0, nil
    if out then
      call("HSET", prefix .. "head", "outbytes", int(out_bytes))
      dropped, lost = bound(out, "outmarks", out_marks, out_bytes, OUT_BYTES)
    end
    -- The log is trimmed every 64 records, and its expiry set when a quarter of it
    -- has passed: it is gone some time after its youngest record is too old.
    if math.floor(first / 64) ~= math.floor(k / 64) then
      call("XTRIM", log, "MINID", "~", int(now - LOG_AGE_MS))
      if call("XLEN", log) > LOG_ENTRIES then
        call("XTRIM", log, "MAXLEN", "~", LOG_ENTRIES)
      end
      if out then
        local more, last = cap(out)
        dropped, lost = dropped + more, last or lost
      end
    end
    if dropped > 0 then
      call("HINCRBY", prefix .. "head", "dropped", dropped)
      call("HSET", prefix .. "head", "lost", lost)
    end
    if before == 0 or ms > now + LOG_AGE_MS or math.floor(before * 4 / LOG_AGE_MS) ~= math.floor(ms * 4 / LOG_AGE_MS) then
      call("PEXPIRE", log, 2 * LOG_AGE_MS)
    end
  end
end

-- Ends in one millisecond of eight look for jobs that are gone, so the index is pruned as
-- fast as it grows, and seldom.
local PRUNE = 8

-- prune takes the oldest ended jobs, from a score on, out of a topic's index while they are
-- gone.
local function prune(index, from)
  local old = call("ZRANGEBYSCORE", index, from, "(+inf", "LIMIT", 0, 4 * PRUNE)
  for i = 1, #old do
    if call("EXISTS", prefix .. "j:" .. old[i]) == 1 then
      return
    end
    call("ZREM", index, old[i])
  end
end

-- pin keeps what a job names, while it lives and then for as long as its record is kept: an upload, where
-- kind is "b:", the parts of artifacts, where it is "f:", or a dataset of its topic, where it is that of
-- datasets_of. named are the jobs that those are of.
local function pin(j, kind, named)
  for id in string.gmatch(named or "", "%S+") do
    local key = prefix .. kind .. id
    if not j.ended then
      call("ZADD", key, "+inf", j.id)
      call("PERSIST", key)
    else
      call("ZADD", key, int(now + RETENTION_MS), j.id)
      call("ZREMRANGEBYSCORE", key, "-inf", "(" .. int(now))
      if call("ZCOUNT", key, "+inf", "+inf") == 0 then
        call("PEXPIRE", key, RETENTION_MS)
      end
    end
  end
end

-- unpin takes away what pin did, for a job that is removed. What was named may go now.
local function unpin(id, kind, named, list)
  for origin in string.gmatch(named or "", "%S+") do
    call("ZREM", prefix .. kind .. origin, id)
    call("ZADD", list, "XX", int(now), origin)
  end
end

-- shelve moves what only a retry of an ended job needs to a key of its own, which goes
-- before the job does.
local function shelve(j, payload, checkpoint, attempt, artifacts)
  local ms = j.state == "succeeded" and RETRY_SUCCEEDED_MS or RETRY_FAILED_MS
  if payload and not j.adopted and attempt ~= "0" then -- its input has arrived
    local key = prefix .. "p:" .. j.id
    call("HSET", key, "pl", payload)
    if checkpoint and j.state ~= "succeeded" then
      call("HSET", key, "cp", checkpoint, "ca", artifacts or "")
    end
    call("PEXPIRE", key, ms)
    call("HSET", j.key, "pk", int(now + ms))
  end
  call("HDEL", j.key, "pl", "cp", "ca")
end

-- unkey lets the key that an ended job was made with go, at once or with the job.
local function unkey(j, named)
  local key = prefix .. "op:" .. named
  local done = call("GET", key)
  if done and string.match(done, "^%S+") == j.id then
    call("PEXPIRE", key, frees(j) and 0 or RETENTION_MS)
  end
end

-- finish takes an ended job out of what is alive, and lets it go after a while.
local function finish(j)
  local index, h, n = prefix .. "x:" .. j.topic, topics[j.topic], get(j, "r")
  call("ZREM", prefix .. "live", j.id)
  call("ZADD", index, int(n - (j.child and CHILD or 0)), j.id)
  call("PEXPIRE", j.key, RETENTION_MS)
  -- What only a next attempt would need goes.
  if j.state == "succeeded" then
    call("HDEL", j.key, "c", "s0", "cr", "rt", "ra", "dl", "un", "cc")
  else
    call("HDEL", j.key, "c", "s0", "cr", "rt", "ra", "dl", "un")
  end
  local f = call("HMGET", j.key, "pl", "cp", "at", "bl", "ky", "ca", "ao", "da")
  pin(j, "b:", f[4])
  pin(j, "f:", f[7])
  pin(j, datasets_of(j.topic), f[8])
  shelve(j, f[1], f[2], f[3], f[6])
  if f[5] then
    unkey(j, f[5])
  end
  if parental(j.view) then
    call("PEXPIRE", prefix .. "k:" .. j.id, RETENTION_MS)
  end
  if j.adopted then
    local key = pointer(get(j, "q"), get(j, "ai"))
    if call("GET", key) == j.id then
      call("PEXPIRE", key, RETENTION_MS)
    end
  end
  if now % PRUNE == 0 then
    prune(index, "-inf")
    prune(index, "0")
  end
  if not j.made then
    h.live = h.live - 1
  end
  if h.live <= 0 then
    call("PEXPIRE", index, RETENTION_MS)
  end
end

-- Keys of the jobs that this call has removed.
local erased = {}

-- erase removes all that the shard keeps of a job but its records. Its ID is kept, with the time,
-- for as long as a call that makes it or a task of it may turn up: nothing makes that job again.
-- Who keeps files of jobs reads there which of them may go; those of another job that was
-- removed before may, now that this one does not name them any more.
local function erase(j)
  local index, list, id = prefix .. "x:" .. j.topic, prefix .. "removed", j.id
  local f = call("HMGET", j.key, "bl", "ky", "q", "ai", "ao", "da")
  local named, task = f[2], f[4]
  call("DEL", j.key, prefix .. "p:" .. id, prefix .. "k:" .. id)
  erased[j.key] = true
  call("ZREM", index, id)
  call("ZREMRANGEBYSCORE", list, "-inf", "(" .. int(now - RETENTION_MS))
  call("ZADD", list, int(now), id)
  call("PEXPIRE", list, RETENTION_MS)
  if j.child then
    call("ZREM", prefix .. "k:" .. j.parent, id)
  end
  unpin(id, "b:", f[1], list)
  unpin(id, "f:", f[5], list)
  unpin(id, datasets_of(j.topic), f[6], list)
  for _, key in ipairs({ named and prefix .. "op:" .. named or "", task and pointer(f[3], task) or "" }) do
    local holder = key ~= "" and call("GET", key)
    if holder and string.match(holder, "^%S+") == id then
      call("DEL", key)
    end
  end
end

-- trim drops a stream's oldest records while it is over a bound: an eighth more of
-- the bytes than needed, so that this is not done for every record.
local function trim(stream, h)
  local goal = TOPIC_BYTES
  if h.bytes > TOPIC_BYTES then
    goal = TOPIC_BYTES * 7 / 8
  end
  if call("XLEN", stream) ~= h.length then
    -- The count is only as good as the hands that touched the stream.
    h.bytes, h.length = recount(stream)
  end
  while h.length > 1 and (h.length > TOPIC_ENTRIES or h.bytes > goal) do
    local oldest, from = call("XRANGE", stream, "-", "+", "COUNT", 65), 1
    while from < #oldest and (h.length > TOPIC_ENTRIES or h.bytes > goal) do
      h.bytes = h.bytes - #oldest[from][2][4]
      h.length = h.length - 1
      from = from + 1
    end
    call("XTRIM", stream, "MINID", oldest[from][1])
  end
end

-- date lists a job by its deadline while no worker runs it.
local function date(j)
  if j.ended or running(j.state) then
    call("ZREM", prefix .. "due", j.id)
  else
    call("ZADD", prefix .. "due", get(j, "dl"), j.id)
  end
end

-- settle is phase three: it moves the hashes, then trims.
local function settle()
  local mark = begun > 0 and call("HINCRBY", prefix .. "head", "beats", begun) - begun
  for i = 1, #touched do
    local j = touched[i]
    if not failed[j.topic] then
      if j.family and j.family.moved then
        put(j, "kd", int(j.family.done))
        put(j, "ke", int(j.family.ended))
        put(j, "kf", int(j.family.failed))
      end
      call("HSET", j.key, unpack(j.set))
      if j.beat then
        call("ZADD", prefix .. "beats", int(mark + j.beat), j.id)
      elseif j.beat == false then
        call("ZREM", prefix .. "beats", j.id)
      end
      if j.dated and (j.turned or j.ended) then
        date(j)
      end
      if j.made and j.adopted then
        call("SET", pointer(get(j, "q"), get(j, "ai")), j.id)
      end
      if j.made and not j.ended then
        pin(j, "b:", j.pins)
        pin(j, "f:", j.origins)
        pin(j, datasets_of(j.topic), j.datasets)
        call("ZADD", prefix .. "live", int(now), j.id)
        local index, h = prefix .. "x:" .. j.topic, topics[j.topic]
        call("ZADD", index, "+inf", j.id)
        if h.live <= 0 then
          call("PERSIST", index)
        end
        h.live = h.live + 1
        if j.child then
          call("ZADD", prefix .. "k:" .. j.parent, get(j, "pi"), j.id)
        end
      elseif j.ended then
        finish(j)
      end
      if j.removed then
        erase(j)
      end
    end
  end

  for key, result in pairs(ops) do
    if not failed[owners[key]] then
      local j, name = jobs[string.match(result, "^%S+")], prefix .. "op:" .. key
      if string.byte(key) == OWN then
        call("SET", name, result, "PX", OWN_OP_TTL_MS)
      elseif not (j and j.made and get(j, "ky") == key) then
        call("SET", name, result, "PX", OP_TTL_MS)
      elseif not j.ended then
        call("SET", name, result)
      elseif not frees(j) then
        call("SET", name, result, "PX", RETENTION_MS)
      end
    end
  end

  for i = 1, #heads do
    local topic = heads[i]
    if not failed[topic] then
      local h, key, stream = topics[topic], prefix .. "m:" .. topic, prefix .. "s:" .. topic
      if h.length > TOPIC_ENTRIES or h.bytes > TOPIC_BYTES then
        trim(stream, h)
      end
      call("HSET", key, "id", h.id, "bytes", int(h.bytes), "length", int(h.length))
      -- A clock that was ahead leaves ms standing still; then every commit refreshes.
      if h.began == 0 or h.ms > now + REFRESH_MS or math.floor(h.began / REFRESH_MS) ~= math.floor(h.ms / REFRESH_MS) then
        call("PEXPIRE", stream, TOPIC_TTL_MS)
        call("PEXPIRE", key, HEAD_TTL_MS)
      end
    end
  end
end

-- Nothing is written, in any shard, before everything is decided.
local shards, last = {}, #KEYS / 2
for s = 1, last do
  local log = KEYS[2 * s - 1]
  prefix = string.sub(log, 1, -4)
  jobs, topics, touched, heads, appends, ops, owners, marks, claimed, crowds = {}, {}, {}, {}, {}, {}, {}, {}, {}, {}
  begun = 0
  local first = last + 1
  last = last + ARGV[s]
  decide(first, last)
  local shard = #appends > 0 and call("HMGET", prefix .. "head", "id", "groups", "bytes", "outbytes")
  if shard and not shard[1] then
    local newest = call("XREVRANGE", log, "+", "-", "COUNT", 1)[1]
    shard[1] = newest and newest[1]
  end
  shards[s] = { jobs, topics, touched, heads, appends, ops, owners, prefix, shard, marks, begun }
end
for s = 1, #shards do
  local shard
  jobs, topics, touched, heads, appends, ops, owners, prefix, shard, marks, begun = unpack(shards[s], 1, 11)
  if shard then
    local short = write(shard)
    if short then
      return short
    end
    settle()
  end
  -- Marks are not worth failing for: without one, a task that is gone is taken for lost.
  for i = 1, #marks, 3 do
    if not erased[marks[i]] then
      redis.pcall("HSET", marks[i], marks[i + 1], marks[i + 2])
    end
  end
end

for i, j in pairs(starts) do
  -- readStarted knows the order.
  local fields = call("HMGET", j.key, "ty", "pl", "cp", "ma", "rt", "cr", "dl", "p", "cc", "q", "t", "rs", "pd", "c", "ca", "af")
  fields[#fields + 1] = answers[i]
  answers[i] = fields
end

return answers
