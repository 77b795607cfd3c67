-- replay(limits, id, and FIELDS) -> 1 where there was such a dead letter; it enters the line anew
local p, id = KEYS[1], ARGV[2]
if call('ZREM', p .. 'dead', id) == 0 then
  return 0
end
call('DEL', p .. 'dead:' .. id)
local request = call('GET', p .. 'request:' .. id)
if call('ZSCORE', p .. 'kept', id) then
  forget(p, id)
end
local job = job_at(3)
if request then
  call('SET', p .. 'request:' .. id, request)
  job.bytes = #request
end
local waiting = call('ZCARD', p .. 'ready')
enter(p, id, job, request)
call_workers(p, job.format, waiting)
return 1
