-- due finds the jobs of shards that wait for a worker although their deadline has passed,
-- those that have waited longest first. It costs what it finds.
--
-- KEYS are two of each shard, see common.lua (one shard on Redis Cluster, any number
-- elsewhere). ARGV, for each shard: the time in ms, and the most jobs of all shards of the
-- call together. Answers: for each shard a list of jobs.

local answers, left = {}, tonumber(ARGV[2])
for s = 1, #KEYS / 2 do
  prefix = string.sub(KEYS[2 * s - 1], 1, -4)
  answers[s] = redis.call("ZRANGEBYSCORE", prefix .. "due", "-inf", ARGV[1], "LIMIT", 0, left)
  left = left - #answers[s]
end
return answers
