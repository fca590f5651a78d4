-- family is what a job's children are to it. They live in its shard, so that what a
-- child has come to is added up in the commit that says so. A parent has these fields: kx, the
-- name of its last fan-out; kn, how many children that has, and kw, their weights' sum,
-- both fixed before the first of them was made; ka and kb, the tenths between which
-- they move the bar; kd, what they have done, in tenths by weight; ke and kf, how many
-- have ended, and not well; ko, what they are still to be asked, see order; aw, how many attempts
-- ended to await children; kt, "<ms>:<tenths>", when the job last began to await them, and where
-- its bar was then. Of a child: pa, its parent; pn, "<fan-out>/<name>"; pw, its
-- weight; po, that its parent does without it.

-- family reads what a parent keeps of its children.
local function family(j)
  local k = j.family
  if not k then
    local f = call("HMGET", j.key, "kx", "kn", "kw", "ka", "kb", "kd", "ke", "kf", "aw")
    k = {
      name = f[1], count = tonumber(f[2] or 0), weight = tonumber(f[3] or 1), from = tonumber(f[4] or 0),
      to = tonumber(f[5] or 0), done = tonumber(f[6] or 0), ended = tonumber(f[7] or 0), failed = tonumber(f[8] or 0),
      awaited = tonumber(f[9] or 0),
    }
    j.family = k
  end
  return k
end

-- members is the fragment of a parent's view; it is always the last of its constant part.
local members = ',"children":{'

local function parental(view)
  return string.find(view, members, 1, true)
end

local function show(j)
  local k, at = j.family, parental(j.view)
  j.view = (at and string.sub(j.view, 1, at - 1) or j.view) .. members .. '"count":' .. int(k.count) ..
    ',"ended":' .. int(k.ended) .. ',"failed":' .. int(k.failed) ..
    (k.awaited > 0 and ',"awaited":' .. int(k.awaited) or "") .. "}"
  put(j, "v", j.view)
end

-- plan takes a fan-out, "<name> <count> <weight> <from> <to> <hash of names>", before its first
-- child is made. The hash is kept in a field n:<name>. The same one again, of an attempt that repeats the last one's work, changes
-- nothing. It returns an answer when the children of another have not all ended.
local function plan(j, text)
  local k = family(j)
  local name, count, weight, from, to, names = string.match(text, "^(%S+) (%d+) (%d+) (%d+) (%d+) ?(%x*)$")
  if k.name == name then
    return nil
  end
  if k.ended < k.count then
    return "-state awaiting the children of its fan-out " .. k.name
  end
  k = {
    name = name, count = tonumber(count), weight = tonumber(weight), from = tonumber(from), to = tonumber(to), done = 0,
    ended = 0, failed = 0, awaited = k.awaited, moved = true,
  }
  j.family = k
  put(j, "kx", name)
  put(j, "kn", count)
  put(j, "kw", weight)
  put(j, "ka", from)
  put(j, "kb", to)
  put(j, "n:" .. name, names)
  show(j)
  return nil
end

-- together reports whether all children of a job's fan-out have ended.
local function together(j)
  local k = family(j)
  return k.ended >= k.count
end

-- Jobs whose children the caller must attend to once this is committed: a parent that is queued, since
-- its children have ended, and one that has ended or is being canceled while they have
-- not.
local tend

local function see(j)
  if not j.seen then
    j.seen = true
    tend[#tend + 1] = j.id
  end
end

-- Fields to be written last, without which nothing is wrong but slower: key, name and value in
-- turn.
local marks

local function mark(key, name, value)
  local n = #marks
  marks[n + 1], marks[n + 2], marks[n + 3] = key, name, value
end

-- order keeps that a parent's children are to follow it, "p<n>" into a pause and "r<n>" out of
-- it, until a cascade has reached all of them.
local function order(j, pause, n)
  mark(j.key, "ko", (pause and "p" or "r") .. n)
end

-- worth is what a job counts for its parent: all of it once it has ended.
local function worth(j)
  return live(j.state) and j.tenths or 1000
end

-- begin keeps when, and from which place of its bar, a job awaits its children.
local function begin(j)
  put(j, "kt", int(now) .. ":" .. int(j.tenths))
end

-- remaining is the fragment of the time that the bar of an awaiting job still takes, if it goes on
-- as it has since the job began to await its children; "" while that is less than a second ago.
-- A time of more than 30 days is not worth a number.
local function remaining(j)
  local since, from = string.match(get(j, "kt") or "", "^(%d+):(%d+)$")
  local passed, gained = now - tonumber(since or now), j.tenths - tonumber(from or j.tenths)
  if passed < 1000 or gained <= 0 then
    return ""
  end
  local seconds = math.ceil((1000 - j.tenths) * passed / gained / 1000)
  return seconds <= 2592000 and ',"eta_seconds":' .. int(seconds) or ""
end

-- bereft is the outcome of a child that is canceled since its parent goes on without it.
local function bereft(child)
  local state = load(child.parent).state
  local what = state == "failed" and "has failed" or state == "succeeded" and "has ended" or
    state and "was canceled" or "is gone"
  return ',"error":{"code":"' .. CODE_PARENT_ENDED .. '","message":"its parent ' .. child.parent .. " " .. what .. '"}'
end

-- roll carries what a child has become up to its parent, and to its parent's. before is
-- what it was worth. The bar keeps its highest place, as the child's does.
local function roll(child, before, answer)
  local j = load(child.parent)
  if not j.state or not live(j.state) then
    return
  end
  local k, was, tenths, kind = family(j), worth(j), j.tenths, nil
  k.done, k.moved = k.done + (worth(child) - before) * tonumber(get(child, "pw")), true
  local place = k.from + math.floor((k.to - k.from) * k.done / (1000 * k.weight))
  if place > tenths then
    j.tenths = place < 999 and place or 999
    put(j, "p", int(j.tenths))
  end
  if child.ended then
    k.ended = k.ended + 1
    local well = child.state == "succeeded"
    if not well then
      k.failed = k.failed + 1
    end
    if not well and not j.canceling and get(child, "po") ~= "1" then
      kind = "job.failed"
      close(j, "failed", ',"error":{"code":"' .. CODE_CHILD_FAILED .. '","message":"its child ' .. child.id ..
        (child.state == "failed" and " has failed" or " was canceled") .. '"}')
    elseif j.state == "awaiting" and k.ended >= k.count then
      kind, j.state = "job.queued", "queued"
      put(j, "st", "queued")
      put(j, "g", untimed(get(j, "g")))
      see(j)
    end
  end
  if kind or j.tenths > tenths then
    if j.state == "awaiting" then
      put(j, "g", untimed(get(j, "g")) .. remaining(j))
    end
    show(j)
    tell(j, kind or "job.progress", not kind, "", "", answer)
  elseif not j.listed then
    j.listed = true
    touched[#touched + 1] = j
  end
  if j.ended and k.ended < k.count then
    see(j)
  end
  if j.child and (j.ended or worth(j) ~= was) then
    roll(j, was, answer)
  end
end

-- orphaned reports whether a child's parent has ended, or is about to be canceled.
local function orphaned(j)
  local parent = load(j.parent)
  return not parent.state or not live(parent.state) or parent.canceling
end

-- needed tells why an ended job must stay: its parent lives, and reads what its children came to.
local function needed(j)
  local parent = j.child and load(j.parent)
  if parent and parent.state and live(parent.state) then
    return "a child of job " .. j.parent .. ", which has not ended and reads what its children came to"
  end
end
