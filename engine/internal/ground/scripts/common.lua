-- What every script shares. The engine puts the limits (upper-case locals) in
-- front of this text and one script behind it.
--
-- KEYS[1] is always a shard's log, and KEYS[2] a key of the shard that is never there.
-- All other keys of the shard are made from the prefix: they carry the same hash tag, so
-- they are in the same slot of Redis Cluster and the declared keys route the call. While
-- that slot moves to another node Redis refuses the call, since KEYS[2] is missing.

local prefix = string.sub(KEYS[1], 1, -4)

-- Numbers here are doubles: exact up to 2^53, but printed in exponent form from
-- 15 digits on, and slowly. int prints them whole, as an integer.
local format = string.format
local function int(x)
  return format("%d", x)
end

-- A topic's index has its jobs by score: +inf while a job lives, the n of the record that
-- ended it then; less CHILD where it is a child, so that children, of which there may be
-- very many, come behind all others. 2^53.
local CHILD = 9007199254740992

-- flagged reports whether a job's flags hold a letter.
local function flagged(flags, letter)
  return string.find(flags, letter, 1, true) ~= nil
end

-- before compares IDs byte by byte, as zsets do; < goes by Redis's locale.
local function before(a, b)
  for i = 1, #a do
    local x, y = string.byte(a, i), string.byte(b, i) or -1
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

-- parts splits a cursor "<ms>-<n>" into its two numbers.
local function parts(cursor)
  local dash = string.find(cursor, "-", 1, true)
  return tonumber(string.sub(cursor, 1, dash - 1)), tonumber(string.sub(cursor, dash + 1))
end

-- recount reads a whole stream: the bytes of its records, and their number.
local function recount(stream)
  local entries, bytes = redis.call("XRANGE", stream, "-", "+"), 0
  for i = 1, #entries do
    bytes = bytes + #entries[i][2][4]
  end
  return bytes, #entries
end

-- head returns a topic's newest position: its ID, ms and n, how many bytes and
-- records the stream holds, and whether the hash was there (kept). Where the hash is missing it is rebuilt from the stream,
-- for a reader without the counts, which take a look at all of it.
-- Where that is empty too n is nil: the topic is new, or everything of it was lost.
local function head(topic, reader)
  local h = redis.call("HMGET", prefix .. "m:" .. topic, "id", "bytes", "length")
  if h[1] then
    local ms, n = parts(h[1])
    return { id = h[1], ms = ms, n = n, bytes = tonumber(h[2]), length = tonumber(h[3]), kept = true }
  end
  local stream = prefix .. "s:" .. topic
  local last = redis.call("XREVRANGE", stream, "+", "-", "COUNT", 1)[1]
  if not last then
    return { id = "0-0", ms = 0, bytes = 0, length = 0 }
  end
  local ms, n = parts(last[1])
  if reader then
    return { id = last[1], ms = ms, n = n }
  end
  local bytes, length = recount(stream)
  return { id = last[1], ms = ms, n = n, bytes = bytes, length = length }
end
