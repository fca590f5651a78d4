-- download keeps watched downloads, in keys that belong to no shard. ARGV[1] says what to do:
--
--   begin  id owner topic artifact size until lease_ms   until: Unix ms, 0 for none
--   add    id request from to final reach lease_ms interval_ms
--          to is excluded; final: "1" with a request's last; reach: how much behind to it may have written
--   abort  id reason
--   lapse  most                                          the downloads whose lease or time is over
--
-- "begin" answers "full", or as the others: for each download whether a record of it is due, "1" or
-- "0", and its hash. "add" and "abort" answer nothing of a download that is unknown.

local call = redis.call
local clock = call("TIME")
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local leases = KEYS[1]

local function key(id)
  return prefix .. "d:" .. id
end

local function answer(id, due)
  return { due and "1" or "0", call("HGETALL", key(id)) }
end

-- merge adds a range to a union of ranges, "<from>-<to>,…" in their order. It returns the union, its
-- bytes, and how many ranges it has.
local function merge(union, from, to)
  local all, bytes, placed = {}, 0, from >= to
  local function put(a, b)
    all[#all + 1] = int(a) .. "-" .. int(b)
    bytes = bytes + b - a
  end
  for a, b in string.gmatch(union, "(%d+)-(%d+)") do
    a, b = tonumber(a), tonumber(b)
    if placed or b < from then
      put(a, b)
    elseif a > to then
      put(from, to)
      put(a, b)
      placed = true
    else
      from, to = math.min(a, from), math.max(b, to)
    end
  end
  if not placed then
    put(from, to)
  end
  return table.concat(all, ","), bytes, #all
end

-- A gateway that is killed has written more than it has reported, and one whose connection was cut does not
-- know how much of its buffers was sent. The client goes on behind that. So the field q has the requests whose
-- end is not known, "<request>:<at>:<next>:<reach>;" each: what a request reported last; the lowest place
-- behind that at which another one has begun since, 0 for none; and how far behind it that may be, 0
-- for any distance. tracked notes a report, and returns the field.
local function tracked(open, request, from, at, final, reach)
  local all, known = {}, string.find(open, request .. ":", 1, true)
  local function put(name, place, next, far)
    all[#all + 1] = name .. ":" .. int(place) .. ":" .. int(next) .. ":" .. int(far) .. ";"
  end
  for name, place, next, far in string.gmatch(open, "(%w+):(%d+):(%d+):(%d+);") do
    if name ~= request then
      place, next, far = tonumber(place), tonumber(next), tonumber(far)
      if not known and place < from and (far == 0 or from <= place + far) and (next == 0 or from < next) then
        next = from
      end
      put(name, place, next, far)
    end
  end
  if not final or reach > 0 then
    put(request, at, 0, final and reach or 0)
    if #all > DOWNLOAD_RANGES then
      table.remove(all, 1)
    end
  end
  return table.concat(all)
end

-- bridged is how many bytes a union has with what requests that never ended have written for certain: the
-- client has gone on from there.
local function bridged(union, open)
  local bytes
  for place, next in string.gmatch(open, "%w+:(%d+):(%d+):") do
    union, bytes = merge(union, tonumber(place), tonumber(next))
  end
  return bytes or 0
end

-- conclude ends a download. Of each user's that have ended the newest stay, for as long as the hash.
local function conclude(id, owner, state, reason)
  call("HSET", key(id), "st", state, "why", reason, "en", int(now))
  call("HDEL", key(id), "r", "q")
  call("HINCRBY", key(id), "rev", 1)
  call("ZREM", leases, id)
  call("ZREM", prefix .. "u:" .. owner, id)
  local ended = prefix .. "e:" .. owner
  call("ZADD", ended, int(now), id)
  call("PEXPIRE", ended, DOWNLOAD_MS)
  if call("ZCARD", ended) > DOWNLOADS then
    call("DEL", key(call("ZPOPMIN", ended)[1]))
  end
  return answer(id, true)
end

local function renew(id, lease)
  call("ZADD", leases, int(now + lease), id)
  call("PEXPIRE", leases, DOWNLOAD_MS)
end

if ARGV[1] == "begin" then
  local id, owner, ends = ARGV[2], ARGV[3], tonumber(ARGV[7])
  local running = prefix .. "u:" .. owner
  call("ZREMRANGEBYSCORE", running, "-inf", int(now))
  if call("ZCARD", running) >= DOWNLOADS then
    return "full"
  end
  -- An hour is left for a look that finds it over.
  local last = now + DOWNLOAD_MS - 3600000
  if ends == 0 or ends > last then
    ends = last
  end
  call("HSET", key(id), "id", id, "ow", owner, "t", ARGV[4], "a", ARGV[5], "sz", ARGV[6], "n", "0", "r", "", "q", "", "st", "running",
    "rev", "1", "cr", int(now), "ex", int(ends), "tk", int(now), "tn", "0")
  call("PEXPIRE", key(id), DOWNLOAD_MS)
  call("ZADD", running, int(now + DOWNLOAD_MS), id)
  call("PEXPIRE", running, DOWNLOAD_MS)
  renew(id, tonumber(ARGV[8]))
  return answer(id, true)
end

if ARGV[1] == "lapse" then
  local answers, over = {}, call("ZRANGEBYSCORE", leases, "-inf", int(now), "LIMIT", 0, ARGV[2])
  for i = 1, #over do
    local f = call("HMGET", key(over[i]), "ow", "ex", "r", "q", "sz")
    if f[1] and bridged(f[3], f[4]) >= tonumber(f[5]) then
      call("HSET", key(over[i]), "n", f[5])
      answers[#answers + 1] = conclude(over[i], f[1], "completed", "")
    elseif f[1] then
      answers[#answers + 1] = conclude(over[i], f[1], "aborted", now >= tonumber(f[2]) and "expired" or "lapsed")
    else
      call("ZREM", leases, over[i])
    end
  end
  return answers
end

local id = ARGV[2]
local f = call("HMGET", key(id), "st", "ow", "sz", "r", "ex", "tk", "tn", "n", "q")
if not f[1] then
  return {}
end
if f[1] ~= "running" then
  return answer(id, false)
end
if ARGV[1] == "abort" then
  return conclude(id, f[2], "aborted", ARGV[3])
end
if now >= tonumber(f[5]) then
  return conclude(id, f[2], "aborted", "expired")
end

local size, done, union = tonumber(f[3]), tonumber(f[8]), f[4]
local from, to, final = tonumber(ARGV[4]), math.min(tonumber(ARGV[5]), size), ARGV[6] == "1"
local more, bytes, count = merge(union, from, to)
-- A range too many does not count until it touches another one.
if count <= DOWNLOAD_RANGES then
  union, done = more, bytes
end
if done >= size then
  call("HSET", key(id), "n", int(done))
  return conclude(id, f[2], "completed", "")
end
local open = tracked(f[9], ARGV[3], from, to, final, tonumber(ARGV[7]))
call("HSET", key(id), "r", union, "n", int(done), "q", open)
local lease = tonumber(ARGV[8])
if final and bridged(union, open) >= size then
  lease = math.min(lease, 2000) -- a request that lives reports within that
end
renew(id, lease)
local since = now - tonumber(f[6])
local due = done > tonumber(f[7]) and (since >= tonumber(ARGV[9]) or since < 0)
if due then
  call("HSET", key(id), "tk", int(now), "tn", int(done))
  call("HINCRBY", key(id), "rev", 1)
end
return answer(id, due)
