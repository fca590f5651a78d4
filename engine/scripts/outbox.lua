-- outbox declares a consumer group of the shard's outbox, drops one, or trims what
-- every declared group has done with. ARGV: "declare" <group>, "drop" <group> or
-- "trim". Answer: how many records were trimmed, or 1 when something changed.
--
-- The declared groups stand in the head hash, where commit reads them: records are
-- written to the outbox only while there is one.

local head_key, out = prefix .. "head", prefix .. "out"
local declared, list = {}, redis.call("HGET", head_key, "groups") or ""
for name in string.gmatch(list, "[^,]+") do
  declared[#declared + 1] = name
end

if ARGV[1] == "trim" then
  -- Everything before the first entry that some group has not acknowledged may go.
  -- A declared group that is missing has acknowledged nothing: nothing goes.
  local position = {}
  if redis.call("EXISTS", out) == 1 then
    for _, info in ipairs(redis.call("XINFO", "GROUPS", out)) do
      local g = {}
      for i = 1, #info, 2 do
        g[info[i]] = info[i + 1]
      end
      position[g["name"]] = g["last-delivered-id"]
    end
  end
  local lowest
  for _, name in ipairs(declared) do
    local at = position[name]
    if not at then
      return 0
    end
    local pending = redis.call("XPENDING", out, name)
    if tonumber(pending[1]) > 0 then
      at = pending[2]
    end
    local ms, k = parts(at)
    if not lowest or ms < lowest[1] or (ms == lowest[1] and k < lowest[2]) then
      lowest = { ms, k, at }
    end
  end
  return lowest and redis.call("XTRIM", out, "MINID", lowest[3]) or 0
end

local group, rest, found = ARGV[2], {}, false
for _, name in ipairs(declared) do
  if name == group then
    found = true
  else
    rest[#rest + 1] = name
  end
end
if ARGV[1] == "declare" then
  if found then
    return 0
  end
  local made = redis.pcall("XGROUP", "CREATE", out, group, "$", "MKSTREAM")
  if made.err and not string.find(made.err, "BUSYGROUP", 1, true) then
    return made
  end
  rest[#rest + 1] = group
else
  if not found then
    return 0
  end
  redis.call("XGROUP", "DESTROY", out, group)
  if #rest == 0 then
    redis.call("DEL", out)
  end
end
redis.call("HSET", head_key, "groups", table.concat(rest, ","))
return 1
