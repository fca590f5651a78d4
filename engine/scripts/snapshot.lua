-- snapshot answers with a topic's head and the jobs that belong to its present
-- state: all that live, all that ended after n, the newest ended ones, and the newest
-- ended children. The caller reads those jobs afterwards, so that what they show is never
-- older than the head. ARGV: topic, n of the cursor held ("" for none), most ended jobs and
-- most ended children.

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

take(redis.call("ZRANGEBYSCORE", index, "+inf", "+inf"))
for _, less in ipairs({ 0, CHILD }) do
  local most, least = int(CHILD - less), int(-less)
  if after ~= "" then
    take(redis.call("ZREVRANGEBYSCORE", index, most, "(" .. int(after - less)))
  end
  take(redis.call("ZREVRANGEBYSCORE", index, most, least, "LIMIT", 0, ended))
end
return answer
