-- tie keeps in the hash of an asynq task, if there is one, which job is its. asynq deletes
-- the hash with the task, so another task of the same name is not tied.
-- KEYS: the task's hash. ARGV: field, job.

if redis.call("EXISTS", KEYS[1]) == 1 then
  redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
end
return 1
