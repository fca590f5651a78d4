-- drop takes tasks that are not to run out of one of asynq's queues. asynq's own way is a search
-- of the whole list of pending tasks for each; this is one for many.
--
-- KEYS: the list of pending tasks, the set of scheduled ones, then each task's hash.
-- ARGV: where the tasks are: from and to in the list, or -1 and -1 in the set; then their IDs.
-- It answers how many there were.

local call = redis.call
local from, to, hashes, dropped = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, 0
for i = 3, #ARGV do
  hashes[ARGV[i]] = KEYS[i]
end
if from < 0 then
  for id, hash in pairs(hashes) do
    if call("ZREM", KEYS[2], id) == 1 then
      call("DEL", hash)
      dropped = dropped + 1
    end
  end
  return dropped
end
local window = call("LRANGE", KEYS[1], from, to)
for i = 1, #window do
  local hash = hashes[window[i]]
  if hash then
    call("LSET", KEYS[1], from + i - 1, "") -- no task has that name
    call("DEL", hash)
    dropped = dropped + 1
  end
end
if dropped > 0 then
  local tail = from + from > call("LLEN", KEYS[1])
  call("LREM", KEYS[1], tail and -dropped or dropped, "")
end
return dropped
