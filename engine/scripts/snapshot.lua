-- snapshot answers with a topic's head and the jobs that belong to its present
-- state: all that live, all that ended after n, and the newest ended ones. The
-- caller reads those jobs afterwards, so that what they show is never older than
-- the head. ARGV: topic, n of the cursor held ("" for none), most ended jobs.

local topic, after, ended = ARGV[1], ARGV[2], tonumber(ARGV[3])
local index = prefix .. "x:" .. topic

local answer, seen = { head(topic).id }, {}
local function take(ids)
  for i = 1, #ids do
    if not seen[ids[i]] then
      seen[ids[i]] = true
      answer[#answer + 1] = ids[i]
    end
  end
end

-- A live job's score is +inf, an ended one's a number up to 2^53.
local most = "9007199254740992"
take(redis.call("ZRANGEBYSCORE", index, "+inf", "+inf"))
if after ~= "" then
  take(redis.call("ZREVRANGEBYSCORE", index, most, "(" .. after))
end
take(redis.call("ZREVRANGEBYSCORE", index, most, "-inf", "LIMIT", 0, ended))
return answer
