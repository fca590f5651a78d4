-- silent reads the heartbeats of shards: how many were counted in each (its mark), the mark
-- of the oldest that is some run's last one, and the runs whose last one is no younger than
-- a mark that an earlier reading gave. It costs the same whatever the number of runs that
-- are not silent.
--
-- KEYS are two of each shard, see common.lua (one shard on Redis Cluster, any number
-- elsewhere). ARGV: for each shard the mark, "" for none. Answers: for each shard a list of its mark, the oldest
-- ("" without runs), then job and mark of each silent run.

local call = redis.call
local answers = {}
for s = 1, #KEYS / 2 do
  prefix = string.sub(KEYS[2 * s - 1], 1, -4)
  local oldest = call("ZRANGE", prefix .. "beats", 0, 0, "WITHSCORES")[2]
  local answer = { "0", "" }
  if oldest then
    local upto = ARGV[s]
    if upto ~= "" and tonumber(oldest) <= tonumber(upto) then
      answer = call("ZRANGEBYSCORE", prefix .. "beats", "-inf", upto, "WITHSCORES")
      table.insert(answer, 1, oldest)
      table.insert(answer, 1, call("HGET", prefix .. "head", "beats") or "0")
    else
      answer = { call("HGET", prefix .. "head", "beats") or "0", oldest }
    end
  end
  answers[s] = answer
end
return answers
