-- beat counts the heartbeats of running attempts, and answers each with its flags:
-- "" go on, "superseded" stop without another word, "canceling" stop and end, "pausing"
-- stop and wait. A child is to be canceled also when its parent is, or has ended.
-- ARGV: job, attempt, token, counter, for each.

local function orphaned(id)
  local parent = redis.call("HGET", prefix .. "j:" .. id, "pa")
  local p = redis.call("HMGET", prefix .. "j:" .. parent, "st", "fl")
  return not p[1] or p[1] == "succeeded" or p[1] == "failed" or p[1] == "canceled" or (p[2] and flagged(p[2], "c"))
end

local answers = {}
for i = 1, #ARGV, 4 do
  local id, attempt = ARGV[i], ARGV[i + 1]
  local j = redis.call("HMGET", prefix .. "j:" .. id, "st", "fk", "fl")
  local flags, answer = j[3], ""
  if j[1] ~= "running" or j[2] ~= attempt .. "." .. ARGV[i + 2] then
    answer = "superseded"
  else
    redis.call("HSET", prefix .. "beat", id, attempt .. "." .. ARGV[i + 3])
    if flags and (flagged(flags, "c") or (flagged(flags, "k") and orphaned(id))) then
      answer = "canceling"
    elseif flags and flagged(flags, "p") then
      answer = "pausing"
    end
  end
  answers[#answers + 1] = answer
end
return answers
