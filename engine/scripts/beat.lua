-- beat counts the heartbeats of running attempts, and answers each with its flags:
-- "" go on, "superseded" stop without another word, "canceling" stop and end.
-- ARGV: job, attempt, token, counter, for each.

local answers = {}
for i = 1, #ARGV, 4 do
  local id, attempt = ARGV[i], ARGV[i + 1]
  local j = redis.call("HMGET", prefix .. "j:" .. id, "st", "fk", "cx")
  if j[1] ~= "running" or j[2] ~= attempt .. "." .. ARGV[i + 2] then
    answers[#answers + 1] = "superseded"
  else
    redis.call("HSET", prefix .. "beat", id, attempt .. "." .. ARGV[i + 3])
    answers[#answers + 1] = j[3] and "canceling" or ""
  end
end
return answers
