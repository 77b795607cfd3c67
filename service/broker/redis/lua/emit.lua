-- emit(limits, then per job: id, token, count of blocks, and per block: rows, steps, kind, progress, failure, frame)
-- -> {token, "" where the lease is lost, or the number of a block and its rows that are new, ...}
-- The fence: only the newest lease of a running job changes anything. An event is (row, step), and is published once. A
-- block is published whole or not at all: one whose rows are new only in part is answered with those that are, and the
-- worker sends these again, with the blocks behind it.
local p, at, answers = KEYS[1], 2, {}
local MOST_HEADER = 512 -- the first bytes of a frame, which say its kind
local SEEN_BYTES = 24 -- of a row's last step and progress

-- The last step and the progress of a row, as far as they were published; true where it has ended
local function last_of(note)
  if note == 'end' then
    return true
  elseif note then
    local step, progress = string.match(note, '^(%S+) (%S+)$')
    return false, number_of(step), number_of(progress)
  end
end

-- "4" is the number of every row, "4 5 6" has one for each
local function spread(text, count)
  local found = {}
  for one in string.gmatch(text, '%S+') do
    found[#found + 1] = tonumber(one)
  end
  for i = #found + 1, count do
    found[i] = found[1]
  end
  return found
end

local function account(job, block, rows_new, progress)
  local bytes = #block.frame + FRAME_BYTES
  job.bytes, job.progress = job.bytes + bytes, job.progress + progress
  add_own(p, 'living_bytes', bytes)
  if block.kind ~= 'step' then
    job.rows_finished = job.rows_finished + rows_new
  else
    job.step_bytes = job.step_bytes + #block.frame
  end
  if block.kind == 'done' then
    job.rows_done = job.rows_done + rows_new
  end
  if block.failure ~= '' and not job.code then
    job.code, job.message = string.match(block.failure, '^(%S*) (.*)$')
  end
end

-- The first block of a job that ends all its rows: nothing was published before that could be a repeat
local function ends_all(job, block)
  local first, last = string.match(block.rows, '^(%d+)%-(%d+)$')
  local count = first and last - first + 1 or 1
  return block.kind ~= 'step' and count == job.row_count and (first or string.match(block.rows, '^%d+$'))
end

-- Notes the rows of a block that are new; the rows that are, and how many there are in all
local function take_note(id, job, notes, block)
  local rows, fresh, gain = expand(block.rows), {}, 0
  local steps, progress = spread(block.steps, #rows), spread(block.progress, #rows)
  local noted = {}
  for i, row in ipairs(rows) do
    local ended, step, before = last_of(notes[whole(row)])
    if not ended and (block.kind ~= 'step' or not step or steps[i] > step) then
      fresh[#fresh + 1] = whole(row)
      gain = gain + progress[i] - (before or 0)
      noted[whole(row)] = block.kind ~= 'step' and 'end' or whole(steps[i]) .. ' ' .. exact(progress[i])
    end
  end
  if #fresh == #rows then
    for row, note in pairs(noted) do
      notes[row], notes.changed[row] = note, note
    end
    account(job, block, #rows, gain)
  end
  return fresh, #rows
end

-- Frames to publish, and the number and the new rows of the block that has to be cut, if there is one
local function gather(id, job, count)
  local frames, notes = {}, nil
  for number = 0, count - 1 do
    local rows, steps, kind, progress, failure, frame = unpack(ARGV, at + 6 * number, at + 6 * number + 5)
    local block = { rows = rows, steps = steps, kind = kind, progress = progress, failure = failure, frame = frame }
    if job.rows_finished >= job.row_count then
      return frames, notes
    elseif job.published == 0 and #frames == 0 and ends_all(job, block) then
      account(job, block, job.row_count, job.row_count)
      frames[1] = frame
    else
      notes = notes or job.published > 0 and read_hash(p .. 'seen:' .. id) or {}
      notes.changed = notes.changed or {}
      local fresh, all = take_note(id, job, notes, block)
      if #fresh == all then
        frames[#frames + 1] = frame
      elseif #fresh > 0 then
        return frames, notes, number, table.concat(fresh, ' ')
      end
    end
  end
  return frames, notes
end

local function remember(id, notes)
  local flat = {}
  for row, note in pairs(notes.changed) do
    flat[#flat + 1] = row
    flat[#flat + 1] = note
  end
  if #flat > 0 then
    call('HSET', p .. 'seen:' .. id, unpack(flat))
  end
end

local RUNNING = {
  'bytes', 'payload_bytes', 'step_bytes', 'dropped', 'progress', 'rows_finished', 'rows_done', 'code', 'message',
  'published',
}

-- The oldest steps go where they are too many: an empty place stays, so that each event keeps its number
local function drop_steps(id, job)
  local events = p .. 'events:' .. id
  while
    job.step_bytes > 0
    and job.dropped < job.published
    and (job.step_bytes > max_stream_bytes or own(p, 'living_bytes') > max_queue_bytes)
  do
    local frame = call('LINDEX', events, job.dropped) or ''
    if string.find(string.sub(frame, 1, MOST_HEADER), '"kind":"step"', 1, true) then
      call('LSET', events, job.dropped, '')
      job.step_bytes, job.bytes = job.step_bytes - #frame, job.bytes - #frame
      add_own(p, 'living_bytes', -#frame)
    end
    job.dropped = job.dropped + 1
  end
end

local function finish(id, job)
  leave_device(p, id, job)
  add_own(p, 'living_bytes', -job.bytes - job.payload_bytes)
  drained(p, job.seconds)
  job.state, job.ended_at = job.rows_done > 0 and 'done' or 'failed', now
  save(p, id, job, ENDED)
  call('DEL', p .. 'payload:' .. id, p .. 'seen:' .. id)
  call('ZADD', p .. 'kept', now, id)
  add_own(p, 'kept_bytes', job.bytes)
end

local function publish(id, job, count)
  local frames, notes, cut, fresh = gather(id, job, count)
  if #frames > 0 then
    local start = call('RPUSH', p .. 'events:' .. id, unpack(frames)) - #frames
    job.published = start + #frames
    if job.rows_finished >= job.row_count then
      finish(id, job)
    else
      if start == 0 then -- what `remember` writes goes with the payload
        job.payload_bytes = job.payload_bytes + SEEN_BYTES * job.row_count
        add_own(p, 'living_bytes', SEEN_BYTES * job.row_count)
      end
      drop_steps(id, job)
      save(p, id, job, RUNNING)
      remember(id, notes)
    end
    reply(job, id, start, frames)
  end
  return cut, fresh
end

local function emit(id, token, count)
  local job = read_job(p, id)
  if not job or job.state ~= 'running' or whole(job.token) ~= token then
    return '', ''
  end
  return publish(id, job, count)
end

while at <= #ARGV do
  local id, token, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local fine, cut, fresh = pcall(emit, id, token, count)
  if not fine then -- what cannot be written is tried again, by the next lease
    cut, fresh = '', ''
  end
  if cut then
    answers[#answers + 1], answers[#answers + 2], answers[#answers + 3] = token, tostring(cut), fresh
  end
  at = at + 6 * count
end
return answers
