-- status(limits, id, tenant) -> {position, seconds before it, drain rate, name, value, ...}
-- Nothing for another tenant's job.
local p, id, tenant = KEYS[1], ARGV[2], ARGV[3]
sweep(p)
local job = read_job(p, id)
if not job or tenant ~= job.tenant then
  return false
end
local flat = { '', '', exact(drain_rate(p)) }
if job.state == 'queued' then
  flat[1] = whole(call('ZRANK', p .. 'ready', place_of(id, job)) or 0)
  flat[2] = exact(seconds_before(p, job.finish))
end
job.submitted_at = math.floor(job.stamp / 1000)
for name, value in pairs(job) do
  flat[#flat + 1] = name
  flat[#flat + 1] = type(value) == 'number' and exact(value) or value
end
return flat
