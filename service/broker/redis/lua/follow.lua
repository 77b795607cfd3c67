-- follow(limits, id, replica, start, most) -> {state, more, frame, ...}: the frames from `start` on
-- From now on the replica hears of every further one.
local p, id, replica, start, most = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
sweep(p)
local job = read_job(p, id)
if not job then
  return false
end
if not string.find(' ' .. job.replicas .. ' ', ' ' .. replica .. ' ', 1, true) then
  job.replicas = job.replicas .. ' ' .. replica
  save(p, id, job, { 'replicas' })
end
local frames = call('LRANGE', p .. 'events:' .. id, start, start + most - 1)
local more = call('LLEN', p .. 'events:' .. id) > start + #frames
return { job.state, more and '1' or '0', unpack(frames) }
