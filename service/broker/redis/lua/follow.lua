-- follow(limits, id, replica, start, most) -> {state, more, frame, ...}: the events from `start` on
-- From now on the replica hears of every further one.
local p, id, replica, start, most = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
sweep(p)
local job = call('HMGET', p .. 'job:' .. id, 'state', 'replicas')
if not job[1] then
  return false
end
if not string.find(' ' .. job[2] .. ' ', ' ' .. replica .. ' ', 1, true) then
  call('HSET', p .. 'job:' .. id, 'replicas', job[2] .. ' ' .. replica)
end
local frames = call('LRANGE', p .. 'events:' .. id, start, start + most - 1)
local more = call('LLEN', p .. 'events:' .. id) > start + #frames
return { job[1], more and '1' or '0', unpack(frames) }
