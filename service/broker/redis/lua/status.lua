-- status(limits, id) -> {position, seconds before it, drain rate, name, value, ...}
local p, id = KEYS[1], ARGV[2]
sweep(p)
local job = read_job(p, id)
if not job then
  return false
end
local flat = { '', '', exact(drain_rate(p)) }
if job.state == 'queued' then
  flat[1] = whole(call('ZRANK', p .. 'ready', job.place))
  flat[2] = exact(seconds_before(p, job.finish))
end
for name, value in pairs(job) do
  flat[#flat + 1] = name
  flat[#flat + 1] = value
end
return flat
