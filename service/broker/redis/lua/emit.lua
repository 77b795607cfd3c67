-- emit(limits, then per job: id, token, event count, and per event: row, index, kind, bytes, progress, failure, frame)
-- -> the tokens of the leases that are lost. The fence: only the newest lease of a running job changes anything.
local p, at, lost = KEYS[1], 2, {}

-- The row's progress before this event, or nothing where the event is a repeat or comes after the row's end. The end of
-- a job's only row needs no note: the fence falls with it.
local function unseen(id, job, row, index, terminal, progress)
  if job.row_count == '1' and tonumber(job.rows_finished) == 1 then
    return nil
  elseif job.row_count == '1' and terminal then
    return job.progress
  end
  local seen = p .. 'seen:' .. id
  if call('HEXISTS', seen, row) == 1 or call('HSETNX', seen, terminal and row or row .. '.' .. index, '1') == 0 then
    return nil
  end
  local before = call('HGET', seen, 'progress ' .. row) or 0
  call('HSET', seen, 'progress ' .. row, progress)
  return before
end

local function note_failure(job, failure)
  if failure ~= '' and not job.code then
    job.code, job.message = string.match(failure, '^(%S*) (.*)$')
  end
end

local function gather(id, job, count)
  local frames = {}
  for i = at, at + 7 * (count - 1), 7 do
    local row, index, kind, bytes, progress, failure, frame = unpack(ARGV, i, i + 6)
    local terminal = kind ~= 'step'
    local before = unseen(id, job, row, index, terminal, progress)
    if before then
      frames[#frames + 1] = frame
      job.bytes = job.bytes + bytes
      job.progress = job.progress + progress - before
      job.rows_finished = job.rows_finished + (terminal and 1 or 0)
      job.rows_done = job.rows_done + (kind == 'done' and 1 or 0)
      note_failure(job, failure)
    end
  end
  return frames
end

local function publish(id, job, frames)
  local start = call('RPUSH', p .. 'events:' .. id, unpack(frames)) - #frames
  reply(job, id, start, frames)
end

local function finish(id, job)
  leave_device(p, id, job)
  drained(p, tonumber(job.seconds))
  job.state, job.ended_at, job.progress = job.rows_done > 0 and 'done' or 'failed', whole(now), job.row_count
  call('DEL', p .. 'payload:' .. id)
  keep(p, id, job)
end

local function write(id, job)
  local flat = {}
  for _, name in ipairs({ 'state', 'bytes', 'progress', 'rows_finished', 'rows_done', 'ended_at', 'code', 'message' }) do
    if job[name] then
      flat[#flat + 1] = name
      flat[#flat + 1] = job[name]
    end
  end
  call('HSET', p .. 'job:' .. id, unpack(flat))
end

while at <= #ARGV do
  local id, token, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local job = read_job(p, id)
  if job and job.state == 'running' and job.token == token then
    local frames = gather(id, job, count)
    if tonumber(job.rows_finished) == tonumber(job.row_count) then
      finish(id, job)
    end
    if #frames > 0 then
      write(id, job)
      publish(id, job, frames)
    end
  else
    lost[#lost + 1] = token
  end
  at = at + 7 * count
end
return lost
