-- What every script shares. The engine puts the limits (upper-case locals) in
-- front of this text and one script behind it.
--
-- KEYS[1] is always the shard's log. All other keys are made from its prefix:
-- they carry the same hash tag, so they stand in the same slot and one declared
-- key routes the call on Redis Cluster.

local prefix = string.sub(KEYS[1], 1, -4)

-- Numbers here are doubles: exact up to 2^53, but printed in exponent form from
-- 15 digits on. int prints them whole.
local function int(x)
  return string.format("%.0f", x)
end

-- parts splits a cursor "<ms>-<n>" into its two numbers.
local function parts(cursor)
  local dash = string.find(cursor, "-", 1, true)
  return tonumber(string.sub(cursor, 1, dash - 1)), tonumber(string.sub(cursor, dash + 1))
end

-- head returns the topic's newest position: its ms, its n, the bytes that the
-- stream holds, when its expiry was last set, and its ID. Where the hash is
-- missing it is rebuilt from the stream's last entry. Where that is missing too,
-- n is nil: the topic is new, or everything of it was lost.
local function head(topic)
  local h = redis.call("HMGET", prefix .. "m:" .. topic, "ms", "n", "bytes", "refreshed")
  if h[1] and h[2] then
    return {
      ms = tonumber(h[1]), n = tonumber(h[2]), bytes = tonumber(h[3] or 0),
      refreshed = tonumber(h[4] or 0), id = h[1] .. "-" .. h[2],
    }
  end
  local entries = redis.call("XREVRANGE", prefix .. "s:" .. topic, "+", "-")
  if #entries == 0 then
    return { ms = 0, bytes = 0, refreshed = 0, id = "0-0" }
  end
  local bytes = 0
  for i = 1, #entries do
    bytes = bytes + #entries[i][2][4]
  end
  local ms, n = parts(entries[1][1])
  return { ms = ms, n = n, bytes = bytes, refreshed = 0, id = entries[1][1] }
end
