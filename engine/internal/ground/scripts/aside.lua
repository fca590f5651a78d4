-- aside keeps a record of the outbox that a group's reader cannot store. ARGV: group, the
-- reader's owner and fence, the record's ID in the outbox, what is kept, the most that are
-- kept. Answer: "lost" where the lease is not the reader's, "full", or "kept".

local group, id = ARGV[1], ARGV[4]
local key = prefix .. "aside:" .. group
if not holds(group, ARGV[2], ARGV[3]) then
  return "lost"
end
if redis.call("HEXISTS", key, id) == 0 and redis.call("HLEN", key) >= tonumber(ARGV[6]) then
  return "full"
end
redis.call("HSET", key, id, ARGV[5])
return "kept"
