-- replay gives the verdict for a reader that holds the topic's records up to a
-- cursor, and a page of what follows. ARGV: topic, cursor, most entries, most
-- bytes (at least one entry is given whatever its size).
--
-- Answer: verdict, the topic's head, then ID and record in turn.

local topic, cursor, entries, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local stream = prefix .. "s:" .. topic
local newest = head(topic, true)
local _, n = parts(cursor)

if cursor == newest.id then
  return { "resumed", newest.id }
end
if (newest.n or 0) <= n then
  return { "rewritten", newest.id }
end

local page = redis.call("XRANGE", stream, cursor, "+", "COUNT", entries + 1)
local first = page[1]
if first and (first[1] == cursor or first[2][2] == cursor) then
  local answer, size = { "resumed", newest.id }, 0
  for i = 1, #page do
    local id, record = page[i][1], page[i][2][4]
    if id ~= cursor then
      size = size + #record
      if #answer >= 2 + 2 * entries or (#answer > 2 and size > bytes) then
        break
      end
      answer[#answer + 1] = id
      answer[#answer + 1] = record
    end
  end
  return answer
end

local oldest = redis.call("XRANGE", stream, "-", "+", "COUNT", 1)[1]
if oldest then
  local _, m = parts(oldest[1])
  if m <= n then
    return { "rewritten", newest.id }
  end
end
return { "trimmed", newest.id }
