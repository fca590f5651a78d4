-- list reads a page of a topic's jobs in the order of its index: those that live, newest
-- first, then those that have ended, last ended first, then the children that have. The
-- head is read first, so what a job shows is never older than the head.
--
-- ARGV: topic
--   phase, place   where the page begins: "live" or "ended", behind the job with this ID, or
--                  the one that ended with this score; "" at the phase's start
--   jobs, bytes    the most of the page; one job is given whatever its size
--   held           the bytes that the page has from calls before this one
--   entries        the most entries of the index that are looked at
--   on             "1": a page that has all the rest of the live jobs goes on with ended ones
--   live           the most live jobs; "" any number
--   last           live jobs behind this one are left out; "" none
--   since, newest  ended ones: those after this n, and the newest ones and children; "" all
--   newer          jobs whose last record is not after this n are left out; "" none
--   only           "live" or "ended": a filter wants no others; "" any
--   job            a filter wants this one alone; "" any
--   earliest       jobs that were created before this time are left out; "" none
--   latest         those that were not created before this one are; "" none
--   names, values  the rest, in turn: fields of a job's hash that a filter wants. "" as
--                  the value of pa, the parent, is none
--
-- Answer: the head; where the next page begins, "" if there is none; where the live jobs
-- were cut off for their number, "" if they were not; then for each job its ID and fields.

local topic, phase, place = ARGV[1], ARGV[2], ARGV[3]
local jobs, bytes, size, entries, on = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8] == "1"
local most, last = tonumber(ARGV[9]), ARGV[10]
local since, newest, newer = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local only, job, earliest, latest = ARGV[14], ARGV[15], ARGV[16], ARGV[17]
local index = prefix .. "x:" .. topic
local call, floor = redis.call, math.floor

local answer = { head(topic, true).id, "", "" }
local looked = 0

-- What a filter wants of a job's hash. parent is "" where it wants no child.
local names, values, parent = {}, {}, nil
for i = 18, #ARGV, 2 do
  local n, name, value = #names + 1, ARGV[i], ARGV[i + 1]
  names[n], values[n] = name, value
  if name == "pa" then
    parent = value
    values[n] = value ~= "" and value -- HMGET gives false for a field that is not there
  end
end

-- matches reports whether a filter wants a job.
local function matches(key)
  if names[1] then
    local f = call("HMGET", key, unpack(names))
    for i = 1, #names do
      if f[i] ~= values[i] then
        return false
      end
    end
  end
  return true
end

-- within reports whether a job was created in a filter's time. That is the last of its view's
-- constants, so no label is taken for it. Such times differ in digits alone, which < orders
-- in any locale of Redis's.
local function within(view)
  if earliest == "" and latest == "" then
    return true
  end
  local created = string.match(view, '^.*"created_at":"([^"]+)"')
  return created and (earliest == "" or created >= earliest) and (latest == "" or created < latest)
end

-- full reports whether the page takes no further entry.
local function full()
  return #answer - 3 >= jobs or looked >= entries
end

-- take adds a job to the page, unless it is gone, too old, or not wanted; false if it does
-- not fit.
local function take(id)
  looked = looked + 1
  local key = prefix .. "j:" .. id
  if (newer and tonumber(call("HGET", key, "r") or 0) <= newer) or not matches(key) then
    return true
  end
  local f = call("HMGET", key, "t", "st", "v", "g", "e", "p", "r", "fl", "af")
  if not f[2] or not within(f[3]) then
    return true
  end
  -- What stands around the fields in a view is shorter than 192 bytes.
  local more = 192 + #(f[3] or "") + #(f[4] or "") + #(f[5] or "") + #(f[9] or "")
  if size > 0 and size + more > bytes then
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
  if only == "ended" then
    return true
  end
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

-- over reads ended jobs that are children, if less is CHILD, or are not; true if the page
-- has all the rest of them.
local function over(less, score)
  local children = less == CHILD
  if only == "live" or (parent and children == (parent == "")) then
    return true
  end
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

if job ~= "" then
  take(job)
  return answer
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
