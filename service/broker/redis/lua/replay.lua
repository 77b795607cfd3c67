-- replay(limits, id, name, value, ...) -> 1 where there was such a dead letter; it enters the line anew
local p, id = KEYS[1], ARGV[2]
if call('ZREM', p .. 'dead', id) == 0 then
  return 0
end
call('HDEL', p .. 'reasons', id)
local request = call('GET', p .. 'request:' .. id)
if call('ZSCORE', p .. 'kept', id) then
  forget(p, id)
end
if request then
  call('SET', p .. 'request:' .. id, request)
end
local job = { replicas = '', deadline = '' }
for i = 3, #ARGV, 2 do
  job[ARGV[i]] = ARGV[i + 1]
end
enter(p, id, job)
return 1
