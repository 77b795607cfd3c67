-- emit(limits, then per job: id, token, event count, and per event: row, index, kind, bytes, progress, failure, frame)
-- -> the tokens of the leases that are lost. The fence: only the newest lease of a running job changes anything.
local p, at, lost = KEYS[1], 2, {}

local function publish(id, job, count)
  local hash, seen, start, frames = p .. 'job:' .. id, p .. 'seen:' .. id, call('LLEN', p .. 'events:' .. id), {}
  for i = at, at + 7 * (count - 1), 7 do
    local row, index, kind, bytes, progress, failure = unpack(ARGV, i, i + 5)
    local terminal, fresh = kind ~= 'step', call('HEXISTS', seen, row) == 0
    if fresh and call('HSETNX', seen, terminal and row or row .. '.' .. index, '1') == 1 then
      call('RPUSH', p .. 'events:' .. id, ARGV[i + 6])
      frames[#frames + 1] = ARGV[i + 6]
      call('HINCRBY', hash, 'bytes', bytes)
      local before = tonumber(call('HGET', seen, 'progress ' .. row)) or 0
      call('HSET', seen, 'progress ' .. row, progress)
      call('HINCRBYFLOAT', hash, 'progress', exact(progress - before))
      if terminal then
        job.rows_finished = call('HINCRBY', hash, 'rows_finished', 1)
        job.rows_done = call('HINCRBY', hash, 'rows_done', kind == 'done' and 1 or 0)
      end
      if failure ~= '' then
        local code, message = string.match(failure, '^(%S*) (.*)$')
        call('HSETNX', hash, 'code', code)
        call('HSETNX', hash, 'message', message)
      end
    end
  end
  return start, frames
end

local function finish(id, job)
  leave_device(p, id, job)
  drained(p, tonumber(job.seconds))
  job.state = tonumber(job.rows_done) > 0 and 'done' or 'failed'
  call('HSET', p .. 'job:' .. id, 'state', job.state)
  call('DEL', p .. 'payload:' .. id)
  keep(p, id)
end

while at <= #ARGV do
  local id, token, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local job = read_job(p, id)
  if job and job.state == 'running' and job.token == token then
    local start, frames = publish(id, job, count)
    if tonumber(job.rows_finished) == tonumber(job.row_count) then
      finish(id, job)
    end
    reply(job, id, start, frames)
  else
    lost[#lost + 1] = token
  end
  at = at + 7 * count
end
send_replies()
return lost
