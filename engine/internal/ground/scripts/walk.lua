-- walk gives a worker the next pages of the rounds over shards' live jobs, which all workers
-- share: a page is one worker's until that says that it has looked at it, or until its claim
-- runs out.
--
-- KEYS are two of each shard, see common.lua (one shard on Redis Cluster, any number
-- elsewhere). ARGV, for each shard:
--   who       whose rounds: those of one name are shared
--   looked    the claim on the page that was looked at, "<until> <from>"; "" none
--   interval  how long after a round began the next one may begin, in ms
--   lease     for how long a page is claimed, in ms
--   jobs      the most of all pages of the call together
--   pause     for how long after a page no other one is given, in ms
--
-- A round is kept as the ranges of live jobs that are still to be looked at: in fields
-- "r<from>" with "<until> <to>", until when it is claimed, 0 for never, and with which place
-- it ends, none for the end of all. A place is "<score> <job>", of the last job before it, so
-- no job is passed by when others leave. Whoever takes of a long range leaves the rest as a
-- range of its own. Where there is no range the round is over. began is when it began, given
-- when a page was given last.
--
-- A time that lies ahead was kept while Redis's clock was wrong, and counts as long ago.
--
-- Answers: for each shard a list of how many ms to wait for a page, "" where none is to come,
-- then of a page the claim and its jobs.

local call, floor = redis.call, math.floor
local clock = call("TIME")
local now = tonumber(clock[1]) * 1000 + floor(tonumber(clock[2]) / 1000)
local answers, shards = {}, #KEYS / 2
local interval, lease, jobs, pause = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- passed is how many live jobs stand at or before a place.
local function passed(live, place)
  local score, id = string.match(place, "^(%S+) (%S+)$")
  if not score then
    return 0
  end
  local low = call("ZCOUNT", live, "-inf", "(" .. score)
  local high = low + call("ZCOUNT", live, score, score)
  while low < high do
    local middle = floor((low + high) / 2)
    if before(id, call("ZRANGE", live, middle, middle)[1]) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

-- load reads a shard's walk.
local function load(shard, who)
  local w = { shard = shard, key = prefix .. "walk:" .. who, live = prefix .. "live", ranges = {} }
  w.count = call("ZCARD", w.live)
  local list, fields = call("HGETALL", w.key), {}
  for i = 1, #list, 2 do
    local from = string.match(list[i], "^r(.*)$")
    if from then
      local till, to = string.match(list[i + 1], "^(%d+) (.*)$")
      w.ranges[from] = { till = tonumber(till), to = to }
    else
      fields[list[i]] = tonumber(list[i + 1])
    end
  end
  w.began, w.given = fields.began or 0, fields.given or 0
  return w
end

-- drop takes a range out of a round.
local function drop(w, from)
  w.ranges[from] = nil
  call("HDEL", w.key, "r" .. from)
end

-- free finds a range that is not claimed and has jobs: where it begins and ends, and how many
-- of the live jobs stand before the one and up to the other.
local function free(w)
  for from, range in pairs(w.ranges) do
    if range.till <= now or range.till > now + lease then
      local first, last = passed(w.live, from), range.to == "" and w.count or passed(w.live, range.to)
      if first < last then
        return from, range.to, first, last
      end
      drop(w, from)
    end
  end
end

-- take claims jobs of a range, and adds them to the answer.
local function take(w, answer, from, to, first, last)
  local ids = call("ZRANGE", w.live, first, math.min(last, first + jobs) - 1)
  if first + jobs < last then
    local id = ids[#ids]
    local place = int(tonumber(call("ZSCORE", w.live, id))) .. " " .. id
    call("HSET", w.key, "r" .. place, "0 " .. to)
    to = place
  end
  local till = int(now + lease)
  call("HSET", w.key, "r" .. from, till .. " " .. to, "began", int(w.began), "given", int(now))
  call("PEXPIRE", w.key, 3600000)
  answer[2] = till .. " " .. from
  for i = 1, #ids do
    answer[i + 2] = ids[i]
  end
  jobs = jobs - #ids
end

local walks, given = {}, 0
for s = 1, shards do
  prefix = string.sub(KEYS[2 * s - 1], 1, -4)
  local at = #ARGV / shards * (s - 1)
  local w = load(s, ARGV[at + 1])
  local till, from = string.match(ARGV[at + 2], "^(%d+) (.*)$")
  if till and w.ranges[from] and w.ranges[from].till == tonumber(till) then
    drop(w, from)
  end
  if w.given <= now then
    given = math.max(given, w.given)
  end
  walks[s], answers[s] = w, { "" }
end

-- The round that began first comes first: a shard with many jobs holds up no other.
table.sort(walks, function(a, b)
  return a.began < b.began
end)
for i = 1, #walks do
  local w = walks[i]
  if w.count > 0 and not next(w.ranges) and (w.began + interval <= now or w.began > now) then
    w.began, w.ranges[""] = now, { till = 0, to = "" }
  end
  local from, to, first, last = free(w)
  if from and given + pause > now then
    answers[w.shard][1] = int(given + pause - now)
  elseif from and jobs > 0 then
    take(w, answers[w.shard], from, to, first, last)
  end
end
return answers
