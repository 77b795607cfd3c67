-- extend(limits, then per job: id, token) -> the tokens of the leases that are lost
local p, lost = KEYS[1], {}
for i = 2, #ARGV, 2 do
  local job = call('HMGET', p .. 'job:' .. ARGV[i], 'state', 'token')
  if job[1] == 'running' and job[2] == ARGV[i + 1] then
    call('ZADD', p .. 'lease', now + lease_ms, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i + 1]
  end
end
return lost
