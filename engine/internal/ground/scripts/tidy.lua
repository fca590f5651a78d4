-- tidy brings what a shard lists of a job in line with its hash. A job whose hash is gone
-- leaves the live jobs, and one that does not run leaves the heartbeats. One that runs and
-- has no heartbeat is given one, so that sweeps watch it. One that waits is listed by its
-- deadline, and no other. ARGV: job.

local call, beats = redis.call, prefix .. "beats"
local j = call("HMGET", prefix .. "j:" .. ARGV[1], "st", "dl")
local state, deadline = j[1], j[2]
if not state then
  call("ZREM", prefix .. "live", ARGV[1])
end
if state ~= "running" then
  call("ZREM", beats, ARGV[1])
elseif not call("ZSCORE", beats, ARGV[1]) then
  call("ZADD", beats, call("HINCRBY", prefix .. "head", "beats", 1), ARGV[1])
end
if deadline and state ~= "running" then
  call("ZADD", prefix .. "due", deadline, ARGV[1])
else
  call("ZREM", prefix .. "due", ARGV[1])
end
return 1
