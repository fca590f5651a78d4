-- forget drops what is left of a job whose hash is gone, and the heartbeat of one that no
-- longer runs. ARGV: job.

local state = redis.call("HGET", prefix .. "j:" .. ARGV[1], "st")
if not state then
  redis.call("ZREM", prefix .. "live", ARGV[1])
end
if state ~= "running" then
  redis.call("ZREM", prefix .. "beats", ARGV[1])
end
return 1
