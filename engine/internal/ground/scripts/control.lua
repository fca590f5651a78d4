-- control adds a revocation, in keys that belong to no shard.
--
-- KEYS: the log, the zset of what is revoked
-- ARGV: member, until, hold_ms    until: Unix ms; 0: hold_ms from now on
--
-- It answers until when the revocation is kept, which is no longer than hold_ms from now on, give or take a minute
-- between the clocks of two Redis, and no shorter than it was kept before. An entry of the log names the one before it in the field p, so that a reader sees
-- that it has missed some.

local MINUTE = 60000
local call = redis.call
local clock = call("TIME")
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local member, most = ARGV[1], now + tonumber(ARGV[3])
local score = tonumber(ARGV[2])
if score == 0 then
  score = most
elseif score > most + MINUTE then
  score = most + MINUTE
end
local held = tonumber(call("ZSCORE", KEYS[2], member) or "0")
if held > score then
  score = held
end
local text = string.format("%.0f", score)
-- After a first write that needs no memory, a Redis that is full lets a script go on.
call("ZREMRANGEBYSCORE", KEYS[2], "-inf", string.format("%.0f", now - MINUTE))
call("ZADD", KEYS[2], text, member)
local last = call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
call("XADD", KEYS[1], "MAXLEN", "~", 1000, "*", "p", last[1] and last[1][1] or "0-0", "m", member, "u", text)
return text
