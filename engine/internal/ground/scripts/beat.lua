-- beat counts the heartbeats of running attempts, and answers each with its flags:
-- "" go on, "superseded" stop without another word, "canceling" stop and end, "pausing"
-- stop and wait. A child is to be canceled also when its parent is, or has ended.
-- ARGV: job, attempt, token, for each.
--
-- A beat is kept as its mark: the shard counts the beats of all its runs, starts among
-- them, so that who has read the count knows of each run whether it has beaten since.

local function orphaned(id)
  local parent = redis.call("HGET", prefix .. "j:" .. id, "pa")
  local p = redis.call("HMGET", prefix .. "j:" .. parent, "st", "fl")
  return not p[1] or p[1] == "succeeded" or p[1] == "failed" or p[1] == "canceled" or (p[2] and flagged(p[2], "c"))
end

local beats, count = prefix .. "beats", #ARGV / 3
local mark = redis.call("HINCRBY", prefix .. "head", "beats", count) - count
local top = tonumber(redis.call("ZREVRANGE", beats, 0, 0, "WITHSCORES")[2] or 0)
if top > mark then -- the head was lost
  mark = top
  redis.call("HSET", prefix .. "head", "beats", int(mark + count))
end

local answers = {}
for i = 1, #ARGV, 3 do
  local id, attempt = ARGV[i], ARGV[i + 1]
  local j = redis.call("HMGET", prefix .. "j:" .. id, "st", "fk", "fl")
  local flags, answer = j[3], ""
  if j[1] ~= "running" or j[2] ~= attempt .. "." .. ARGV[i + 2] then
    answer = "superseded"
  else
    mark = mark + 1
    redis.call("ZADD", beats, int(mark), id)
    if flags and (flagged(flags, "c") or (flagged(flags, "k") and orphaned(id))) then
      answer = "canceling"
    elseif flags and flagged(flags, "p") then
      answer = "pausing"
    end
  end
  answers[#answers + 1] = answer
end
return answers
