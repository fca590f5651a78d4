-- schedule keeps the schedules and, for each, how far workers have handled its ticks.
--
-- KEYS: the hash of schedules, JSON by "<topic>|<name>", and by the same field the hash of
-- ticks: the ms of the last tick that a worker has handled, or, negative, the ms from which on ticks
-- count while there was none; and the hash of when they tick, "<zone> <cron>", so that who
-- looks at all of them does not read their payloads. ARGV[1] says what to do; every answer
-- begins with the present ms.
--   put FIELD JSON TIMES TOPIC| MOST MOSTALL   → what became of it, the tick
--   delete FIELD                         → how many there were
--   list TOPIC| [FIELD…]                 → field, JSON, tick of each stored one of the topic,
--                                          and of the fields
--   look "" [FIELD…]                     → field, times ("?": not known), tick of each stored
--                                          one, and of the fields; what has no tick begins now
--   see FIELD STORED                     → JSON, tick; one without a tick begins now,
--                                          unless STORED says that it is to be stored and is not
--   move FIELD MS                        moves a tick that is there forward
--   mend FIELD TICK                      brings a tick that is still TICK back to now, which none was yet

local call = redis.call
local clock = call("TIME")
local now = string.format("%d", tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))
local schedules, ticks, times = KEYS[1], KEYS[2], KEYS[3]
local what, field = ARGV[1], ARGV[2]

local function tick_of(name, begin)
  local tick = call("HGET", ticks, name)
  if not tick and begin then
    tick = "-" .. now
    call("HSET", ticks, name, tick)
  end
  return tick or ""
end

if what == "put" then
  local created = call("HEXISTS", schedules, field) == 0
  if created then
    if call("HLEN", schedules) >= tonumber(ARGV[7]) then
      return { now, "full" }
    end
    local topic, held = ARGV[5], 0
    for _, name in ipairs(call("HKEYS", schedules)) do
      if string.sub(name, 1, #topic) == topic then
        held = held + 1
      end
    end
    if held >= tonumber(ARGV[6]) then
      return { now, "topic full" }
    end
  end
  call("HSET", schedules, field, ARGV[3])
  call("HSET", times, field, ARGV[4])
  if created then
    -- What an earlier schedule of the name may have left behind says nothing of this one.
    call("HDEL", ticks, field)
  end
  return { now, created and "created" or "replaced", tick_of(field, true) }
elseif what == "delete" then
  local held = call("HDEL", schedules, field)
  call("HDEL", times, field)
  if held == 1 then -- otherwise it may be a configured one's
    call("HDEL", ticks, field)
  end
  return { now, held }
elseif what == "list" or what == "look" then
  local begin, answer = what == "look", { now }
  local function add(name, text)
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3] = name, text, tick_of(name, begin)
  end
  if begin then
    local known = call("HGETALL", times)
    for i = 1, #known, 2 do
      add(known[i], known[i + 1])
    end
    if #known / 2 ~= call("HLEN", schedules) then
      for _, name in ipairs(call("HKEYS", schedules)) do
        if call("HEXISTS", times, name) == 0 then
          add(name, "?")
        end
      end
    end
  else
    for _, name in ipairs(call("HKEYS", schedules)) do
      if string.sub(name, 1, #field) == field then
        add(name, call("HGET", schedules, name))
      end
    end
  end
  for i = 3, #ARGV do
    add(ARGV[i], "")
  end
  return answer
elseif what == "see" then
  local text = call("HGET", schedules, field) or ""
  if ARGV[3] == "1" and text == "" then
    return { now, "", "" }
  end
  return { now, text, tick_of(field, true) }
elseif what == "move" then
  local tick = tonumber(call("HGET", ticks, field))
  if tick and math.abs(tick) < tonumber(ARGV[3]) then
    call("HSET", ticks, field, ARGV[3])
  end
  return { now }
end
if what == "mend" then
  if call("HGET", ticks, field) == ARGV[3] then
    call("HSET", ticks, field, "-" .. now)
  end
  return { now }
end
return redis.error_reply("ERR schedule: unknown command " .. what)
