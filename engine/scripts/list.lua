-- list reads a page of a topic's jobs in the order of its index: those that live, newest
-- first, then those that have ended, last ended first, then the children that have. The
-- head is read first, so what a job shows is never older than the head.
--
-- ARGV: topic
--   phase, place   where the page begins: "live" or "ended", behind the job with this ID, or
--                  the one that ended with this score; "" at the phase's start
--   jobs, bytes    the most of the page; one job is given whatever its size
--   entries        the most entries of the index that are looked at
--   on             "1": a page that has all the rest of the live jobs goes on with ended ones
--   live           the most live jobs; "" any number
--   last           live jobs behind this one are left out; "" none
--   since, newest  ended ones: those after this n, and the newest ones and children; "" all
--   newer          jobs whose last record is not after this n are left out; "" none
--
-- Answer: the head; where the next page begins, "" if there is none; where the live jobs
-- were cut off for their number, "" if they were not; then for each job its ID and fields.

local topic, phase, place = ARGV[1], ARGV[2], ARGV[3]
local jobs, bytes, entries, on = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == "1"
local most, last = tonumber(ARGV[8]), ARGV[9]
local since, newest, newer = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local index = prefix .. "x:" .. topic
local call, floor = redis.call, math.floor

local answer = { head(topic, true).id, "", "" }
local size, looked = 0, 0

-- full tells whether the page takes no further entry.
local function full()
  return #answer - 3 >= jobs or looked >= entries
end

-- take adds a job to the page, unless it is gone or too old; false if it does not fit.
local function take(id)
  looked = looked + 1
  local key = prefix .. "j:" .. id
  if newer and tonumber(call("HGET", key, "r") or 0) <= newer then
    return true
  end
  local f = call("HMGET", key, "t", "st", "v", "g", "e", "p", "r", "fl")
  if not f[2] then
    return true
  end
  -- What stands around the fields in a view is shorter than 192 bytes.
  local more = 192 + #(f[3] or "") + #(f[4] or "") + #(f[5] or "")
  if #answer > 3 and size + more > bytes then
    return false
  end
  size = size + more
  answer[#answer + 1] = { id, f }
  return true
end

-- rank is how many of the live jobs stand before those behind an ID, which may have left.
local function rank(id, high)
  local low = 0
  while low < high do
    local middle = floor((low + high) / 2)
    if before(call("ZREVRANGE", index, middle, middle)[1], id) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

-- alive reads live jobs; true if the page has all the rest of them.
local function alive()
  local count, given = call("ZCOUNT", index, "+inf", "+inf"), 0
  local from = place == "" and 0 or rank(place, count)
  local to = math.min(count, from + entries)
  local ids = to > from and call("ZREVRANGE", index, from, to - 1) or {}
  for i = 1, #ids do
    local id = ids[i]
    if last ~= "" and before(id, last) then
      return true
    elseif most and given >= most then
      answer[3] = "live:" .. place
      return true
    end
    local held = #answer
    if full() or not take(id) then
      answer[2] = "live:" .. place
      return false
    end
    given, place = given + #answer - held, id
  end
  if to < count then
    answer[2] = "live:" .. place
    return false
  end
  return true
end

-- over reads ended jobs that are children, if less is CHILD, or are not.
local function over(less, score)
  local high, low = score and "(" .. int(score) or int(CHILD - less), int(-less)
  if since then
    low = "(" .. int(since - less)
    local old = newest > 0 and call("ZREVRANGEBYSCORE", index, int(CHILD - less), int(-less), "WITHSCORES", "LIMIT", newest - 1, 1)
    if old and (not old[1] or tonumber(old[2]) <= since - less) then
      low = int(old[1] and tonumber(old[2]) or -less)
    end
  end
  local found = call("ZREVRANGEBYSCORE", index, high, low, "WITHSCORES", "LIMIT", 0, entries - looked + 1)
  for i = 1, #found, 2 do
    if full() or not take(found[i]) then
      answer[2] = "ended:" .. place
      return false
    end
    place = int(tonumber(found[i + 1]))
  end
  return true
end

if phase == "live" then
  if not alive() then
    return answer
  end
  place = ""
  if not on then
    answer[2] = "ended:"
    return answer
  end
end
local score = tonumber(place)
if (score and score < 0) or over(0, score) then
  over(CHILD, score and score < 0 and score or nil)
end
return answer
