-- forget drops what is left of a job whose hash is gone. ARGV: job.

if redis.call("EXISTS", prefix .. "j:" .. ARGV[1]) == 0 then
  redis.call("ZREM", prefix .. "live", ARGV[1])
  redis.call("HDEL", prefix .. "beat", ARGV[1])
end
return 1
