-- release(limits, then per job: id, token): back to the places they had; the attempt does not count
local p = KEYS[1]
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local job = read_job(p, id)
  if job and job.state == 'running' and job.token == ARGV[i + 1] then
    leave_device(p, id, job)
    call('HSET', p .. 'job:' .. id, 'state', 'queued', 'attempts', job.attempts - 1)
    wait_in_line(p, id, job)
  end
end
