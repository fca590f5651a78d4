-- commit takes a batch of reports, and answers each with what became of it. It first
-- decides about every report, then appends, then moves the hashes (write.lua): Redis
-- does not roll a script back, and the first write is the one that fails when memory
-- is short, so nothing has moved when it does.
--
-- KEYS are two of each shard that the reports are of, see common.lua (one shard on Redis
-- Cluster, any number elsewhere); ARGV begins with how many arguments the reports of
-- each shard take. Then the reports follow, shard by shard:
--   type, job, fence, seq, percent, progress, count, then count names and values.
-- A report with a fence, "<attempt>.<token>", comes from a run, and seq is its
-- number within the attempt. One without is an operation; the fence in
-- one that makes a receiving job is its receiver's from then on. progress is a JSON
-- fragment; "" keeps what is there. Names that begin with @ are for this script:
--   @op       the operation's key; it is applied once. One that made a job points to
--             that job for as long as there is one, see frees in state.lua
--   @topic    whom the record is for; a run's job knows
--   @attempt  the attempt that an operation is about, which must be the current one
--   @beat     the mark of that attempt's last heartbeat, which must still be it
--   @fan      a fan-out that a run begins, see family.lua
--   @parent   the fence of the run that makes a child
--   @follows  the job is canceled since its parent is, or has ended
--   @order    the order of a child's parent that it follows, which must still be the newest
--   @after    the job that is known to be the task's, of one that makes an adopted job
--   @heir     the job that it is a retry of: what that pins it may pin, and so with a child and its parent
--   @accepted a job that is made was accepted before, and needs no room in its topic
--   @ask      whether the job can be removed, once its children are; nothing is done
--   @again    a waiting job is queued once more: its task was lost, or its type is unknown
--   @outcome  JSON fragment: what the attempt or the job came to
--   @artifacts a list as JSON, see enlist in state.lua
--   @extra    JSON fragment of the record beside the job
-- All others are fields of the job's hash. Fragments begin with a comma.
--
-- Answers: "+<id>" committed, "=<id>" was committed before, "-<reason> <detail>"
-- refused, "!<error>" could not be appended. An operation on a job has "<job> <n>"
-- in place of the ID. After a tab come the jobs whose children the caller must attend to now. A
-- started attempt is answered with a list: the fields that the run needs, then that
-- string.
--
-- Two are operations without a record: "dispatched" keeps that a job's attempt, @attempt, was
-- handed to asynq, and "followed" that its children have followed its order, @order.

-- fenced decides about a run's report. It returns nil to go on, or the answer.
local function fenced(j, rule, fence, seq)
  local state = j.state
  if j.fence == fence then
    local last = j.seq
    if seq <= last then
      -- The IDs of the run's last batch are kept, so that a repeated batch is
      -- answered as it was.
      local ids = {}
      for id in string.gmatch(get(j, "ri") or "", "[^,]+") do
        ids[#ids + 1] = id
      end
      return "=" .. (ids[#ids - (last - seq)] or "")
    end
    if active(state) then
      if seq ~= last + 1 then
        return "-gap " .. int(last)
      end
      return nil
    end
  end
  if not live(state) then
    return "-ended " .. state
  end
  if rule.start and seq == 1 and get(j, "at") == string.match(fence, "^%d+") and rule.from(state) then
    return nil
  end
  return "-superseded " .. get(j, "at")
end

-- operated decides about an operation on a job that exists.
local function operated(j, rule, with)
  local attempt, beat = with["@attempt"], with["@beat"]
  if j.topic ~= with["@topic"] then
    return "-unknown "
  end
  if rule.pause and j.canceling and live(j.state) then
    return "-state canceling"
  end
  if rule.remove then
    local why = live(j.state) and j.state or needed(j)
    if not why and not with["@ask"] and call("EXISTS", prefix .. "k:" .. j.id) == 1 then
      why = j.state .. ", and has children"
    end
    return (why and "-state " .. why) or (with["@ask"] and "+" .. j.id .. " 0") or nil
  end
  if with["@order"] and get(load(j.parent), "ko") ~= with["@order"] then
    return "-superseded "
  end
  local asked = not attempt and live(j.state) and ((rule.cancel and j.canceling) or
    (rule.pause and (j.pausing or j.state == "paused")) or (rule.resume and not j.pausing and j.state ~= "paused"))
  if asked and parental(j.view) and not together(j) then
    -- The process that asked first may not have come as far as the children, or they were asked otherwise.
    if not rule.cancel then
      order(j, rule.pause, get(j, "r"))
    end
    see(j)
  end
  if (rule.make and with.c) or asked then
    return "=" .. j.id .. " " .. get(j, "r")
  end
  if not live(j.state) then
    return "-ended " .. j.state
  end
  if (attempt and get(j, "at") ~= attempt) or (beat and tonumber(call("ZSCORE", prefix .. "beats", j.id) or -1) ~= tonumber(beat)) then
    return "-superseded " .. get(j, "at")
  end
  if with["@again"] and not waiting(j.state) then
    return "-state " .. j.state
  end
end

-- removed reports whether there was a job of this ID, which was removed.
local function removed(j)
  return j.removed or call("ZSCORE", prefix .. "removed", j.id)
end

-- history is the shard's name of what Redis has acknowledged, see Attempt.History; "" where it has none.
local function history()
  return call("HGET", prefix .. "head", "redis") or ""
end

-- make gives a new job its first fields.
local function make(j, rule, with, fence)
  local constant = with.c .. ',"created_at":"' .. time .. '"'
  with.c = nil
  j.topic, j.state, j.view, j.made = with["@topic"], "", constant, true
  j.pins, j.origins, j.datasets, j.type, j.parent = with.bl, with.ao, with.da, with.ty, with.pa
  put(j, "t", j.topic)
  put(j, "p", "0")
  put(j, "at", with["@attempt"])
  put(j, "c", constant)
  put(j, "v", constant)
  put(j, "g", "")
  put(j, "e", "")
  if with["@op"] and string.byte(with["@op"]) ~= OWN then
    put(j, "ky", with["@op"])
  end
  j.child, j.inherits, j.adopted, j.dated = with.pa ~= nil, with.cc ~= nil, with.ai ~= nil, with.dl ~= nil
  if j.child or j.inherits or j.adopted or j.dated then
    flag(j)
  end
  if rule.to == "receiving" then
    put(j, "fk", fence)
    put(j, "sq", "0")
    j.fence = fence
  end
end

-- begotten decides whether a child may be made: only by the run that its parent has.
local function begotten(with)
  local parent = load(with.pa)
  if parent.fence ~= with["@parent"] or not running(parent.state) then
    return "-superseded " .. (parent.state and get(parent, "at") or "")
  end
end

-- held is what an operation's key has the result of. A key that made a job is free when
-- that is gone, or when its end has freed it.
local function held(op, makes)
  local done = ops[op] or call("GET", prefix .. "op:" .. op)
  if done and makes then
    local j = load(string.match(done, "^%S+"))
    if not j.state or frees(j) then
      return nil
    end
  end
  return done
end

-- Jobs that the batch makes for asynq's tasks, by pointer.
local claimed

-- Live jobs of topics, with those that the batch makes.
local crowds

-- crowded counts a job that is to be made, and gives the answer where its topic has no room.
local function crowded(topic)
  local n = crowds[topic] or call("ZCOUNT", prefix .. "x:" .. topic, "+inf", "+inf")
  if n >= TOPIC_JOBS then
    crowds[topic] = n
    return "-full " .. int(TOPIC_JOBS)
  end
  crowds[topic] = n + 1
end

-- doomed refuses a job that names a dataset which is being deleted. The jobs that had it before may
-- still be tried again, and have children.
local function doomed(with)
  local topic, named = with["@topic"], with.da
  if named and call("EXISTS", prefix .. "z:" .. topic .. "/" .. named) == 1 and
    not call("ZSCORE", prefix .. datasets_of(topic) .. named, with.pa or with["@heir"] or "") then
    return "-dataset "
  end
end

-- claim decides whether a job may be made for an asynq task: not while another one is
-- its job than the caller knows, which has ended.
local function claim(id, with)
  local key = pointer(with.q, with.ai)
  local holder = claimed[key] or call("GET", key)
  if holder and holder ~= with["@after"] then
    return "=" .. holder .. " 0"
  end
  claimed[key] = id
end

-- start opens an attempt.
local function start(j, fence)
  local attempt = string.match(fence, "^%d+")
  local f = call("HMGET", j.key, "s0", "c")
  local began, constant = f[1], f[2] or get(j, "c")
  if not began then
    began = time
    put(j, "s0", time)
  end
  local kept = parental(j.view)
  local view = constant .. ',"attempt":' .. attempt .. ',"started_at":"' .. began .. '"'
  if attempt ~= "1" or j.inherits then
    view = view .. ',"resumed_from":' .. percent(tonumber(get(j, "cc") or 0))
  end
  begun = begun + 1
  j.fence, j.view, j.beat = fence, kept and view .. string.sub(j.view, kept) or view, begun
  put(j, "fk", fence)
  put(j, "v", j.view)
  put(j, "g", "")
  put(j, "e", "")
  return attempt == "1" and "job.started" or "job.resumed"
end

-- arrive keeps when the first byte of a job's input came, which is when the job has begun.
local function arrive(j)
  if not string.find(j.view, ',"started_at":"[^"]*"$') then
    j.view = j.view .. ',"started_at":"' .. time .. '"'
    put(j, "v", j.view)
    put(j, "s0", time)
  end
end

-- undated is an outcome without the time of a next attempt, which always comes last.
local function undated(outcome)
  return (string.gsub(outcome, ',"retry_at":"[^"]*"$', ""))
end

-- resolve gives a report the kind that what was asked of the job, and what it is, make of
-- it, with its rule.
local function resolve(j, kind, rule, with)
  local state = j.state
  -- A canceled job does not wait for another attempt, one that has no worker to stop
  -- ends at once, and one whose worker is lost has been stopped.
  if (rule.cancel and not running(state)) or (j.canceling and (rule.wait or (with and with["@beat"]))) then
    return "job.canceled", rule_of("job.canceled")
  end
  -- What has no worker rests at once, and a child that is made when its parent was asked to.
  if (rule.pause and not active(state)) or (with and with.pa and load(with.pa).pausing) then
    return "job.paused", { to = "paused" }
  elseif rule.resume and state == "paused" then
    -- One that was paused before it awaited them may have more of them to make.
    if j.awaits and not together(j) then
      return "job.awaiting", { to = "awaiting" }
    end
    return "job.queued", { to = "queued" }
  elseif with and with["@again"] then
    return kind, { to = "queued" }
  elseif rule.wait and state ~= "" then
    if j.pausing then
      return "job.paused", rule_of("job.paused")
    elseif kind == "job.paused" or (kind == "job.awaiting" and together(j)) then
      -- It was resumed meanwhile, or has nothing to wait for.
      return "job.queued", rule_of("job.queued")
    end
  end
  return kind, rule
end

-- move changes a job as an accepted report says, and appends its record. It returns
-- the record's ID and n.
local function move(j, kind, rule, fence, tenths, progress, with, answer)
  local state, outcome, extra = j.state, "", ""
  local before = j.child and not j.made and worth(j) or 0
  if with then
    outcome, extra = with["@outcome"] or "", with["@extra"] or ""
    for name, value in pairs(with) do
      if string.byte(name) ~= 64 then
        put(j, name, value)
      end
    end
  end
  local asked = kind
  kind, rule = resolve(j, kind, rule, with)
  if kind == "job.canceled" and asked ~= kind then
    outcome = ""
  end
  if with and with["@follows"] then
    put(j, "cw", bereft(j)) -- for its end, which its run may still have to come to
  end
  if kind == "job.canceled" and outcome == "" then
    outcome = get(j, "cw") or ""
  end
  if rule.to == "paused" or (rule.wait and state ~= "") then
    progress = untimed(progress ~= "" and progress or get(j, "g"))
  end
  if tenths and tenths > j.tenths then
    j.tenths = tenths < 999 and tenths or 999
    put(j, "p", int(j.tenths))
  end
  if rule.start then
    kind = start(j, fence)
  end
  if progress ~= "" then
    put(j, "g", progress)
  end
  if rule.cancel then
    j.canceling = true
    flag(j)
  elseif rule.pause or rule.resume then
    j.pausing = rule.pause
    flag(j)
  elseif rule.keep then
    put(j, "cc", int(j.tenths))
    put(j, "cr", "0")
  elseif rule.wait and state ~= "" then
    put(j, "at", int(tonumber(get(j, "at")) + 1))
    if state == "receiving" then
      -- What has arrived need not arrive again: attempts go on from there.
      put(j, "cc", int(j.tenths))
      arrive(j)
    end
    if kind == "job.stalled" then
      put(j, "cr", int(tonumber(get(j, "cr") or 0) + 1))
    elseif asked == "job.awaiting" then
      put(j, "cr", "0") -- it has made its children: as good as a checkpoint
      local k = family(j)
      k.awaited = k.awaited + 1
      put(j, "aw", int(k.awaited))
      if parental(j.view) then
        show(j)
      end
    end
    put(j, "e", kind == "job.retrying" and outcome or undated(outcome))
    j.beat = false
  elseif rule.stop then
    close(j, rule.to, outcome)
    if rule.to == "succeeded" then
      j.tenths = 1000
      put(j, "p", "1000")
    end
  elseif rule.to and not rule.start and not j.made and not active(state) then
    put(j, "e", outcome ~= "" and outcome or undated(get(j, "e")))
    -- Its task, if there is one, is about to be taken away: that it is gone then is no news.
    put(j, "dp", "")
    if not (with and with.un) then
      put(j, "un", "")
    end
  end
  if rule.to then
    if rule.to == "paused" then
      j.pausing, j.awaits = false, state == "awaiting" or asked == "job.awaiting"
      flag(j)
    end
    if rule.to == "awaiting" then
      begin(j)
    end
    state = rule.to
    j.state, j.turned = state, true
    put(j, "st", state)
    if waiting(state) and (j.made or not j.adopted) then
      put(j, "dp", "0." .. history())
    end
  end
  if j.state == "receiving" then
    put(j, "la", int(now))
    if string.find(progress, '"done":[1-9]') then
      arrive(j)
    end
  end
  local id, n = tell(j, kind, rule.tick, progress, extra, answer)
  if rule.remove then
    j.removed, j.state = true, nil
    return id, n
  end
  if (j.ended or rule.cancel) and parental(j.view) and not together(j) then
    see(j)
  end
  if (asked == "job.pausing" or asked == "job.resumed") and parental(j.view) and not together(j) then
    order(j, asked == "job.pausing", n)
    see(j)
  end
  if j.child and (j.ended or worth(j) ~= before) then
    roll(j, before, answer)
  end
  return id, n
end

local answers, starts = {}, {}
local count = 0

-- decide is phase one, for the reports in ARGV from at to last.
local function decide(at, last)
  while at <= last do
    local kind, id, fence, seq = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local tenths, progress, fields = tonumber(ARGV[at + 4]), ARGV[at + 5], ARGV[at + 6]
    local with
    at = at + 7
    if fields ~= "0" then
      with = {}
      for _ = 1, tonumber(fields) do
        with[ARGV[at]] = ARGV[at + 1]
        at = at + 2
      end
    end
    count = count + 1
    tend = {}

    local answer
    local op = with and with["@op"]
    local makes = with and with.c
    -- A call that made its job is known by that job when it is repeated, whatever has
    -- become of the key.
    local done = op and not (makes and load(id).state) and held(op, makes)
    if done then
      answer = "=" .. done
    elseif kind == "dispatched" then
      local key = prefix .. "j:" .. id
      local f = call("HMGET", key, "at", "dp")
      if f[1] == with["@attempt"] then
        mark(key, "dp", f[1] .. (string.match(f[2] or "", "%..*") or ""))
      end
      answer = "+"
    elseif kind == "followed" then
      local key = prefix .. "j:" .. id
      if call("HGET", key, "ko") == with["@order"] then
        mark(key, "ko", "")
      end
      answer = "+"
    elseif id == "" and with["@passing"] then
      -- Those who listen now get it: it is in no stream, and has no ID.
      local topic = with["@topic"]
      appends[#appends + 1] = { topic, "", "", '{"id":"","type":"' .. kind .. '","time":"' .. time .. '","topic":"' .. topic ..
        '"' .. with["@extra"] .. "}", true, count }
      answer = "+"
    elseif id == "" then
      local topic = with["@topic"]
      local h, rid, _, previous = place(topic)
      append(h, topic, rid, previous, '{"id":"' .. rid .. '","type":"' .. kind .. '","time":"' .. time ..
        '","topic":"' .. topic .. '"' .. with["@extra"] .. "}", false, count)
      answer = "+" .. rid
      ops[op], owners[op] = rid, topic
    else
      local rule, j = rule_of(kind), load(id)
      if not j.state then
        if rule.make and seq == "" and with.c then
          answer = (removed(j) and "=" .. id .. " 0") or (with.pa and begotten(with)) or (with.ai and claim(id, with)) or doomed(with) or
            (not with.ai and not with["@accepted"] and crowded(with["@topic"])) or nil
          if not answer then
            make(j, rule, with, fence)
          end
        else
          answer = "-unknown "
        end
      elseif seq ~= "" then
        answer = fenced(j, rule, fence, tonumber(seq))
      else
        answer = operated(j, rule, with)
      end
      if not answer and j.state ~= "" and not rule.from(j.state) and not (with and with["@again"]) then
        answer = "-state " .. j.state
      end
      if not answer and with and with["@fan"] then
        answer = plan(j, with["@fan"])
      end
      if not answer and with and with["@artifacts"] then
        answer = enlist(j, with["@artifacts"])
      end
      if not answer and rule.start and j.child and orphaned(j) then
        move(j, "job.canceled", rule_of("job.canceled"), "", nil, "", { ["@outcome"] = bereft(j) }, count)
        answer = "-ended canceled"
      end
      if not answer then
        local rid, n = move(j, kind, rule, fence, tenths, progress, with, count)
        if seq ~= "" then
          j.seq = tonumber(seq)
          j.ids = j.ids and j.ids .. "," .. rid or rid
          put(j, "sq", seq)
          put(j, "ri", j.ids)
          answer = "+" .. rid
        else
          answer = "+" .. id .. " " .. n
          if op then
            ops[op], owners[op] = id .. " " .. n, j.topic
          end
        end
      end
      if rule.start and running(j.state) and string.find(answer, "^[+=]") then
        starts[count] = j
      end
    end
    if #tend > 0 then
      answer = answer .. "\t" .. table.concat(tend, " ")
    end
    answers[count] = answer
  end
end
