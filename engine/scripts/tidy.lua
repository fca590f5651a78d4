-- tidy brings what a shard lists of a job in line with its hash. A job whose hash is gone
-- leaves the live jobs, and one that does not run leaves the heartbeats. One that runs and
-- has no heartbeat is given one, so that sweeps watch it. ARGV: job.

local call, beats = redis.call, prefix .. "beats"
local state = call("HGET", prefix .. "j:" .. ARGV[1], "st")
if not state then
  call("ZREM", prefix .. "live", ARGV[1])
end
if state ~= "running" then
  call("ZREM", beats, ARGV[1])
elseif not call("ZSCORE", beats, ARGV[1]) then
  call("ZADD", beats, call("HINCRBY", prefix .. "head", "beats", 1), ARGV[1])
end
return 1
