-- outbox declares a consumer group of the shard's outbox, declares it again where Redis
-- forgot it, drops one, or trims what every declared group has done with. ARGV: "declare",
-- "again" or "drop" and a group, or "trim". Answer: how many records were trimmed, or 1 when
-- something changed.

if ARGV[1] == "trim" then
  return trim()
end

local group = ARGV[2]
local rest, found = declared(group)

-- create makes the group in the stream, from a place on.
local function create(from)
  local made = redis.pcall("XGROUP", "CREATE", out, group, from, "MKSTREAM")
  if type(made) == "table" and made.err and not string.find(made.err, "BUSYGROUP", 1, true) then
    return made
  end
end

-- bear notes since when there is an outbox: it will hold every record after an ID.
local function bear(id)
  if not id then
    local clock = redis.call("TIME")
    id = clock[1] .. string.format("%03d", math.floor(tonumber(clock[2]) / 1000)) .. "-0"
  end
  redis.call("HSET", head_key, "born", id)
  redis.call("HDEL", head_key, "cut", "lost")
  return id
end

-- refill puts into the outbox what the shard's log still has and it has not.
local function refill()
  local last, log, bytes = newest(out), KEYS[1], 0
  local from = last
  if not last then
    local first = redis.call("XRANGE", log, "-", "+", "COUNT", 1)[1]
    from = bear(first and under(first[1]) or redis.call("HGET", head_key, "id"))
  end
  while true do
    local page = redis.call("XRANGE", log, from, "+", "COUNT", 500)
    for i = 1, #page do
      local id, f = page[i][1], page[i][2]
      local record = f[8]
      local kind = string.match(record, '^{"id":"[^"]*","type":"([^"]*)"')
      if id ~= from and f[4] ~= "" and kind ~= "job.progress" and kind ~= "job.checkpoint" then
        redis.call("XADD", out, id, "t", f[2], "i", f[4], "p", f[6], "r", record)
        bytes = bytes + #record
      end
    end
    if #page < 500 then
      break
    end
    from = page[#page][1]
  end
  redis.call("HINCRBY", head_key, "outbytes", bytes)
end

if ARGV[1] == "drop" then
  redis.call("DEL", prefix .. "lease:" .. group, prefix .. "aside:" .. group)
  if not found then
    return 0
  end
  redis.call("XGROUP", "DESTROY", out, group)
  redis.call("HDEL", head_key, "from:" .. group)
  if #rest == 0 then
    redis.call("DEL", out)
  end
  redis.call("HSET", head_key, "groups", table.concat(rest, ","))
  return 1
end

if found then
  return ARGV[1] == "again" and create(bounds().base) or 0
end
local from
if ARGV[1] == "again" then
  if #rest == 0 then
    refill()
  end
  from = bounds().base
else
  if redis.call("EXISTS", out) == 0 then
    bear(redis.call("HGET", head_key, "id") or newest(KEYS[1]))
  end
  from = newest(out) or bounds().base
end
local failed = create(from)
if failed then
  return failed
end
rest[#rest + 1] = group
redis.call("HSET", head_key, "groups", table.concat(rest, ","), "from:" .. group, from)
return 1
