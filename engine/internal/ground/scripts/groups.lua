-- groups is what the scripts about a shard's outbox share; the engine puts it in front of each.
--
-- The declared groups are in the head hash, where commit reads them: it writes
-- records to the outbox only while there is one. Beside them the head has what is no
-- longer in the outbox, each as the ID of its last record: "born", before which the outbox
-- did not exist, "lost", which the cap dropped, and "cut", which was trimmed because every
-- group had acknowledged it. The outbox holds every record after the highest of them.

local head_key, out = prefix .. "head", prefix .. "out"

-- earlier reports whether an ID comes before another one.
local function earlier(a, b)
  local ms, k = parts(a)
  local other, m = parts(b)
  return ms < other or (ms == other and k < m)
end

-- under is the end of all IDs before one.
local function under(id)
  local ms, k = parts(id)
  return k > 0 and int(ms) .. "-" .. int(k - 1) or int(ms - 1)
end

-- newest is the ID of a stream's last entry, nil where it has none.
local function newest(stream)
  local last = redis.call("XREVRANGE", stream, "+", "-", "COUNT", 1)[1]
  return last and last[1]
end

-- bounds reads born, lost and cut, and the highest of them, behind which the outbox is whole.
local function bounds()
  local h = redis.call("HMGET", head_key, "born", "lost", "cut")
  local base = "0-0"
  for i = 1, 3 do
    h[i] = h[i] or "0-0"
    if earlier(base, h[i]) then
      base = h[i]
    end
  end
  return { born = h[1], lost = h[2], base = base }
end

-- declared lists the declared groups but one, and reports whether that one is among them.
local function declared(group)
  local rest, found = {}, false
  for name in string.gmatch(redis.call("HGET", head_key, "groups") or "", "[^,]+") do
    if name == group then
      found = true
    else
      rest[#rest + 1] = name
    end
  end
  return rest, found
end

-- trim drops everything before the first entry that some group has not acknowledged, and
-- returns how many records that were. A declared group that is missing has acknowledged
-- nothing: nothing goes.
local function trim()
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
  for _, name in ipairs(declared()) do
    local at = position[name]
    if not at then
      return 0
    end
    local pending = redis.call("XPENDING", out, name)
    if tonumber(pending[1]) > 0 then
      at = pending[2]
    end
    if not lowest or earlier(at, lowest) then
      lowest = at
    end
  end
  local last = lowest and lowest ~= "0-0" and redis.call("XREVRANGE", out, under(lowest), "-", "COUNT", 1)[1]
  if not last then
    return 0
  end
  -- Not worth failing for: trimming is what makes room in a Redis that is full.
  redis.pcall("HSET", head_key, "cut", last[1])
  return redis.call("XTRIM", out, "MINID", lowest)
end

-- holds reports whether a group's lease is a reader's.
local function holds(group, owner, fence)
  local l = redis.call("HMGET", prefix .. "lease:" .. group, "o", "f")
  return l[1] == owner and l[2] == fence
end
