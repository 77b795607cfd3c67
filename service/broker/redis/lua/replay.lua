-- replay(limits, id, and FIELDS) -> 1 where there was such a dead letter; it enters the line anew
local p, id = KEYS[1], ARGV[2]
if not exhume(p, id) then
  return 0
end
local request = call('GET', p .. 'request:' .. id)
if call('ZSCORE', p .. 'kept', id) then
  forget(p, id)
end
local job = job_at(3, call('STRLEN', p .. 'payload:' .. id), #(request or ''))
if request then
  call('SET', p .. 'request:' .. id, request)
end
local waiting = call('ZCARD', p .. 'ready')
enter(p, id, job, request)
call_workers(p, job.format, waiting)
return 1
