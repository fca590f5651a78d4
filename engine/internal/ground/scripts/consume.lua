-- consume acknowledges what a consumer's reader has stored, trims what every group has
-- acknowledged, and gives a page of what follows in the shard's outbox.
--
-- ARGV: group, the reader's owner and fence, the ID of its stored position ("": it has none)
-- and the position's content, most entries, most bytes (at least one entry is given whatever
-- its size).
--
-- Answer: a verdict and the ID after which the page begins, then of each entry ID, topic,
-- record ID, its predecessor's and the record. The verdicts:
--   lost        the reader's lease is not its own any more
--   undeclared  the shard does not know the group
--   fresh       the reader had no position: it begins where the group was declared
--   held        the outbox holds the position, and everything after it
--   forgotten   the outbox began after the position
--   capped      the cap dropped records after the position
--   trimmed     its group had acknowledged records after the position
--   rewritten   the outbox's history is another one than the position's
-- The last four begin after the last record that is not in the outbox any more.

local group, id, content = ARGV[1], ARGV[4], ARGV[5]
local entries, most = tonumber(ARGV[6]), tonumber(ARGV[7])
if not holds(group, ARGV[2], ARGV[3]) then
  return { "lost" }
end
local _, found = declared(group)
if not found then
  return { "undeclared" }
end

local b, verdict, from = bounds(), "held", id
if id == "" then
  verdict, id = "fresh", redis.call("HGET", head_key, "from:" .. group) or bounds().base
  from = id
end
local page
if earlier(id, b.base) then
  verdict = earlier(id, b.born) and "forgotten" or (earlier(id, b.lost) and "capped" or "trimmed")
  from = b.base
elseif id ~= b.base and verdict == "held" then
  page = redis.call("XRANGE", out, id, "+", "COUNT", 65)
  local first = page[1]
  if not first or first[1] ~= id or
    (content ~= "" and string.sub(redis.sha1hex(first[2][2] .. first[2][4] .. first[2][8]), 1, 16) ~= content) then
    verdict, from, page = "rewritten", b.base, nil
  end
end

if verdict == "held" then
  -- Not worth failing for: what is not acknowledged now is so with a later page.
  local set = redis.pcall("XGROUP", "SETID", out, group, id)
  if type(set) == "table" and set.err then -- there is no group, or a Redis that knows no SETID
    redis.pcall("XGROUP", "DESTROY", out, group)
    redis.pcall("XGROUP", "CREATE", out, group, id, "MKSTREAM")
  end
  trim()
end

local answer, at, bytes, given = { verdict, from }, from, 0, 0
while true do
  page = page or redis.call("XRANGE", out, at, "+", "COUNT", 65)
  for i = 1, #page do
    local entry, f = page[i][1], page[i][2]
    if entry ~= at then
      bytes = bytes + #f[8]
      if given >= entries or (given > 0 and bytes > most) then
        return answer
      end
      given = given + 1
      local n = #answer
      answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4], answer[n + 5] = entry, f[2], f[4], f[6], f[8]
    end
  end
  if #page < 65 then
    return answer
  end
  at, page = page[#page][1], nil
end
