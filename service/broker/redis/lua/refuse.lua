-- refuse(limits, id, token, reason): a worker that holds the job's lease cannot read it: a dead letter
local p, id = KEYS[1], ARGV[2]
local job = read_job(p, id)
if job and job.state == 'running' and whole(job.token) == ARGV[3] then
  bury(p, id, job, 'internal', ARGV[4])
end
