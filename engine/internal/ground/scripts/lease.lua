-- lease gives and takes the leases under which a group's outboxes are read, one reader a
-- shard, and keeps which consumers there are.
--
-- KEYS are two of each shard, see common.lua (one shard on Redis Cluster, any number
-- elsewhere). ARGV, for each shard:
--   group, owner
--   lease   for how long, in ms
--   want    "look" renews the owner's lease, "take" takes one that is free, too, "drop" gives
--           it back, and "leave" says also that the owner is no consumer any more
--   least   the fence is higher than this
--
-- The hash has the owner (o), the fence (f) and until when (u), and m:<owner>, until when that
-- is a consumer: "<ms> <lease>". A time that lies further ahead than its lease was kept while
-- Redis's clock was wrong, and counts as over. The fence stays when the lease goes.
--
-- Answers: for each shard a list of the fence, "" where the lease is not the owner's, for how
-- many ms it is another's, and the ID of the outbox's last record; then the consumers.

local call = redis.call
local clock = call("TIME")
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local answers = {}

-- left is how many ms a time is still to come, 0 where it is over.
local function left(time)
  local till, lease = string.match(time or "", "^(%d+) (%d+)$")
  local ms = till and tonumber(till) - now or 0
  return ms > 0 and ms <= tonumber(lease) and ms or 0
end

for s = 1, #KEYS / 2 do
  prefix = string.sub(KEYS[2 * s - 1], 1, -4)
  local group, owner, lease, want, least = unpack(ARGV, 5 * s - 4, 5 * s)
  local key, till = prefix .. "lease:" .. group, int(now + tonumber(lease)) .. " " .. lease
  local list, l, members = call("HGETALL", key), {}, {}
  for i = 1, #list, 2 do
    local member = string.match(list[i], "^m:(.*)$")
    if not member then
      l[list[i]] = list[i + 1]
    elseif member ~= owner then
      if left(list[i + 1]) > 0 then
        members[#members + 1] = member
      else
        call("HDEL", key, list[i])
      end
    end
  end
  local ms, fence = l.o and left(l.u) or 0, tonumber(l.f or 0)
  local own = l.o == owner and ms > 0

  if want == "drop" or want == "leave" then
    if l.o == owner then
      call("HDEL", key, "o", "u")
    end
    own = false
  elseif own or (want == "take" and ms == 0) then
    if not own or fence <= tonumber(least) then
      fence = math.max(fence, tonumber(least)) + 1
    end
    own = true
    call("HSET", key, "o", owner, "f", int(fence), "u", till)
  end
  if want == "leave" then
    call("HDEL", key, "m:" .. owner)
  else
    call("HSET", key, "m:" .. owner, till)
    members[#members + 1] = owner
  end

  local last = call("XREVRANGE", prefix .. "out", "+", "-", "COUNT", 1)[1]
  local answer = { own and int(fence) or "", l.o == owner and "0" or int(ms), last and last[1] or "" }
  for i = 1, #members do
    answer[i + 3] = members[i]
  end
  answers[s] = answer
end
return answers
