-- release(limits, then per job: id, token): back to the places they had; the attempt does not count
local p = KEYS[1]
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local job = read_job(p, id)
  if job and job.state == 'running' and whole(job.token) == ARGV[i + 1] then
    leave_device(p, id, job)
    job.state, job.attempts = 'queued', job.attempts - 1
    save(p, id, job, { 'state', 'attempts' })
    local waiting = call('ZCARD', p .. 'ready')
    wait_in_line(p, id, job)
    call_workers(p, job.format, waiting)
  end
end
