-- cancel(limits, id, tenant, replica) -> the state that the job was in, or nothing for another tenant's
-- Without a tenant it is a replica that waits no longer: what no other waits for is cancelled, unless it is detached.
local p, id, tenant, replica = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
sweep(p)
local job = read_job(p, id)
if not job or (tenant ~= '' and tenant ~= job.tenant) then
  return false
end
local wanted = tenant == '' and job.detached == '1'
if tenant == '' then
  local others = {}
  for other in string.gmatch(job.replicas, '%S+') do
    if other ~= replica then
      others[#others + 1] = other
    end
  end
  job.replicas = table.concat(others, ' ')
  save(p, id, job, { 'replicas' })
  wanted = wanted or #others > 0
end
local was = wanted and job.state or cancel(p, id, job)
return was
