-- What the scripts share. `p` is the prefix of one model's keys, "fivefold:{model}:"; see keys.py for what they hold.
-- Time is the server's, in whole milliseconds: no client's clock is trusted (ARGV[1] brings one in tests only).
-- The names in capitals, and the limits, come from script_client.py.
-- What the server holds may be damaged: a job's record is checked where it is read, and what cannot be used is a dead
-- letter, alone. No record of one job ends a script for the others.

local MOST_ROWS = 256 -- of one job
local FAILED_STEP = 2147483647 -- a failure is no step: it lies beyond any step of its row
-- What the server adds to each job, with its keys and its places in the sets, and to each frame and place in a list
local JOB_BYTES, FRAME_BYTES = 750, 16
local DAMAGED_MS = 86400000 -- how long a key of another type than ours is kept aside

-- One command. A key of another type than the queue's own is set aside, and the command runs on no key.
local function call(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == 'table' and answer.err then
    if not string.find(answer.err, 'WRONGTYPE', 1, true) then
      error(answer)
    end
    redis.call('RENAME', key, key .. '.damaged')
    redis.call('PEXPIRE', key .. '.damaged', DAMAGED_MS)
    return redis.call(command, key, ...)
  end
  return answer
end

if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers in commands are written with all digits, in texts by these

local function whole(number)
  return string.format('%.0f', number)
end

local function exact(number)
  return string.format('%.17g', number)
end

-- A finite number, or nothing
local function number_of(text)
  local number = tonumber(text)
  if number and number - number == 0 then
    return number
  end
end

local function read_hash(key)
  local flat, fields = call('HGETALL', key), {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end

-- The queue's own numbers: read once, and those that changed are written once, by finish_script

local numbers, changed = {}, {}

local function numbers_of(p)
  local found = numbers[p]
  if not found then
    found = read_hash(p .. 'queue')
    for name, text in pairs(found) do
      found[name] = number_of(text) or 0
    end
    numbers[p], changed[p] = found, {}
  end
  return found
end

local function own(p, name)
  return numbers_of(p)[name] or 0
end

local function set_own(p, name, number)
  numbers_of(p)[name] = number
  changed[p][name] = true
end

local function add_own(p, name, number)
  set_own(p, name, own(p, name) + number)
end

-- Replies: one message per API replica and script, with every frame that was published

local messages = {}

local function field(text)
  return struct.pack('>I4', #text) .. text
end

local function reply(job, id, start, frames)
  local parts = { field(id), field(whole(start)), field(job.state), field(whole(#frames)) }
  for _, frame in ipairs(frames) do
    parts[#parts + 1] = field(frame)
  end
  local text = table.concat(parts)
  for replica in string.gmatch(job.replicas, '%S+') do
    messages[replica] = messages[replica] or {}
    table.insert(messages[replica], text)
  end
end

-- Lines that were left, and devices: where nothing waits or runs any more, nothing is owed, and no rounding remains

local left_line, left_device = {}, {}

local function finish_script()
  for p in pairs(left_line) do
    if call('ZCARD', p .. 'ready') == 0 then
      set_own(p, 'waiting_seconds', 0)
      call('DEL', p .. 'share')
    end
  end
  for p in pairs(left_device) do
    if call('ZCARD', p .. 'lease') == 0 then
      set_own(p, 'running_seconds', 0)
      if call('ZCARD', p .. 'ready') == 0 then
        set_own(p, 'living_bytes', 0)
      end
    end
  end
  for replica, parts in pairs(messages) do
    redis.call('PUBLISH', REPLY .. replica, table.concat(parts))
  end
  for p, names in pairs(changed) do
    local flat = {}
    for name in pairs(names) do
      flat[#flat + 1] = name
      flat[#flat + 1] = numbers[p][name]
    end
    if #flat > 0 then
      call('HSET', p .. 'queue', unpack(flat))
    end
  end
end

-- A job's record: its fields with numbers as numbers, and what stands in where one is damaged

local STATES = { queued = true, running = true, done = true, failed = true, cancelled = true, expired = true }
local NUMBERS = { seconds = 0, weight = 1, row_count = 1, finish = 0, stamp = 0, format = 1 }
-- 0 if missing. `bytes` are all but those of the payload; the events before `dropped` are ends, or gone.
local COUNTS = {
  'rows_finished', 'rows_done', 'progress', 'token', 'attempts', 'published', 'bytes', 'payload_bytes', 'step_bytes',
  'dropped',
}
local TIMES = { 'deadline', 'ended_at' } -- where there is one
local TEXTS = { 'tenant', 'class', 'operation', 'replicas' }

local NOTHING = 0 / 0 -- makes a sum that is no number of every sum that it is in

-- True for a sound record, with its numbers as numbers: one look at each field, for this is run for every job
local function is_sound(job)
  local seconds, weight = tonumber(job.seconds) or NOTHING, tonumber(job.weight) or NOTHING
  local row_count, finish = tonumber(job.row_count) or NOTHING, tonumber(job.finish) or NOTHING
  local stamp, format = tonumber(job.stamp) or NOTHING, tonumber(job.format) or NOTHING
  local rows_finished, rows_done = tonumber(job.rows_finished or 0) or NOTHING, tonumber(job.rows_done or 0) or NOTHING
  local progress, token = tonumber(job.progress or 0) or NOTHING, tonumber(job.token or 0) or NOTHING
  local attempts, published = tonumber(job.attempts or 0) or NOTHING, tonumber(job.published or 0) or NOTHING
  local bytes, payload_bytes = tonumber(job.bytes or 0) or NOTHING, tonumber(job.payload_bytes or 0) or NOTHING
  local step_bytes, dropped = tonumber(job.step_bytes or 0) or NOTHING, tonumber(job.dropped or 0) or NOTHING
  local deadline, ended_at = tonumber(job.deadline or 0) or NOTHING, tonumber(job.ended_at or 0) or NOTHING
  local sum = seconds + weight + row_count + finish + stamp + format + rows_finished + rows_done
  sum = sum + progress + token + attempts + published + bytes + payload_bytes + step_bytes + dropped
  sum = sum + deadline + ended_at
  if
    not (STATES[job.state] and job.tenant and job.class and job.operation and job.replicas)
    or not (sum - sum == 0 and weight > 0 and row_count >= 1 and row_count <= MOST_ROWS)
  then
    return false
  end
  job.seconds, job.weight, job.row_count, job.finish, job.stamp, job.format =
    seconds, weight, row_count, finish, stamp, format
  job.rows_finished, job.rows_done, job.progress, job.token = rows_finished, rows_done, progress, token
  if job.ended_at then
    job.rows_finished, job.progress = row_count, row_count
  end
  job.attempts, job.published, job.bytes = attempts, published, bytes
  job.payload_bytes, job.step_bytes, job.dropped = payload_bytes, step_bytes, dropped
  job.deadline, job.ended_at, job.place = job.deadline and deadline, job.ended_at and ended_at, nil
  return true
end

-- The name of a field that was damaged, if one was; afterwards each can be used
local function mend(job)
  job.place = nil
  local damaged = not STATES[job.state] and 'state' or nil
  for name, stand_in in pairs(NUMBERS) do
    local number = number_of(job[name])
    damaged = damaged or (not number and name or nil)
    job[name] = number or stand_in
  end
  for _, name in ipairs(COUNTS) do
    local number = number_of(job[name] or 0)
    damaged = damaged or (not number and name or nil)
    job[name] = number or 0
  end
  for _, name in ipairs(TEXTS) do
    damaged = damaged or (not job[name] and name or nil)
    job[name] = job[name] or ''
  end
  for _, name in ipairs(TIMES) do
    if job[name] then
      local number = number_of(job[name])
      damaged = damaged or (not number and name or nil)
      job[name] = number
    end
  end
  if job.row_count < 1 or job.row_count > MOST_ROWS then
    damaged, job.row_count = 'row_count', 1
  end
  if job.weight <= 0 then
    damaged, job.weight = 'weight', 1
  end
  return damaged
end

local function place_of(id, job)
  return job.place or string.format('%020.0f:%.0f:%s', job.stamp, job.format, id)
end

local function share_of(job)
  return job.tenant .. ' ' .. job.class
end

local function save(p, id, job, names)
  local flat = {}
  for _, name in ipairs(names) do
    local value = job[name]
    if value then
      flat[#flat + 1] = name
      flat[#flat + 1] = value
    end
  end
  call('HSET', p .. 'job:' .. id, unpack(flat))
end

-- "0-3 7" -> 0, 1, 2, 3, 7
local function expand(text)
  local rows = {}
  for first, last in string.gmatch(text, '(%d+)%-?(%d*)') do
    for row = tonumber(first), math.min(tonumber(last) or tonumber(first), tonumber(first) + MOST_ROWS - 1) do
      rows[#rows + 1] = row
    end
  end
  return rows
end

-- How fast the model's queue drains: predicted seconds per second of wall time, with a half-life of 10 s

local function drain_rate(p)
  local predicted, elapsed = own(p, 'drain_predicted'), own(p, 'drain_elapsed')
  if predicted > 0 and elapsed > 0 then
    return predicted / elapsed
  end
  return 1
end

local function drained(p, seconds)
  local elapsed = math.max(0, now - own(p, 'drain_mark')) / 1000
  local decay = 0.5 ^ (elapsed / 10)
  set_own(p, 'drain_predicted', own(p, 'drain_predicted') * decay + seconds)
  set_own(p, 'drain_elapsed', own(p, 'drain_elapsed') * decay + elapsed)
  set_own(p, 'drain_mark', now)
end

-- Queued jobs, in the order of their virtual finish times; and running ones, by the end of their lease

local function ring(p, format)
  local bell = p .. 'bell:' .. whole(format)
  if call('LLEN', bell) == 0 then
    call('RPUSH', bell, '1')
  end
end

local function wait_in_line(p, id, job)
  if call('ZADD', p .. 'ready', job.finish, place_of(id, job)) == 1 then
    add_own(p, 'waiting_seconds', job.seconds)
  end
  if job.deadline then
    call('ZADD', p .. 'due', job.deadline, id)
  end
end

-- After jobs have come into a line of so many: workers that wait are woken, and busy ones with room hear of it
local function call_workers(p, format, waiting_before)
  if waiting_before == 0 then
    redis.call('PUBLISH', ARRIVED, p)
  end
  ring(p, format)
end

local function leave_line(p, id, job)
  if call('ZREM', p .. 'ready', place_of(id, job)) == 1 then
    add_own(p, 'waiting_seconds', -job.seconds)
    left_line[p] = true
    if job.deadline then
      call('ZREM', p .. 'due', id)
    end
    return true
  end
end

local function leave_device(p, id, job)
  if call('ZREM', p .. 'lease', id) == 1 then
    add_own(p, 'running_seconds', -job.seconds)
    left_device[p] = true
  end
end

-- What goes before a virtual finish time, counted exactly and weighed by the mean: to add up thousands would block all.
local function seconds_before(p, finish)
  local waiting = call('ZCARD', p .. 'ready')
  if waiting == 0 then
    return 0
  end
  return call('ZCOUNT', p .. 'ready', '-inf', '(' .. exact(finish)) * own(p, 'waiting_seconds') / waiting
end

-- Ended jobs are kept for a while, within bounds; a dead letter's payload stays until it is replayed or pushed out

local function forget(p, id)
  local job = call('HMGET', p .. 'job:' .. id, 'tenant', 'key', 'bytes')
  call('ZREM', p .. 'kept', id)
  add_own(p, 'kept_bytes', -(number_of(job[3]) or 0))
  call('DEL', p .. 'job:' .. id, p .. 'events:' .. id, p .. 'seen:' .. id)
  local had_request = call('ZSCORE', p .. 'dead', id) or call('DEL', p .. 'request:' .. id) == 1
  if job[1] and had_request then
    call('ZREM', p .. 'jobs:' .. job[1], id)
  end
  if job[1] and job[2] then
    local key = p .. 'idem:' .. job[1] .. ':' .. job[2]
    if call('GET', key) == id then -- another try may have the key by now
      call('DEL', key)
    end
  end
end

-- The end of all these rows, as codec.py writes a block of events
local function failed_frame(id, rows, code, message)
  local steps, places = {}, {}
  for i, row in ipairs(rows) do
    places[i], steps[i] = struct.pack('<i8', row), struct.pack('<i8', FAILED_STEP)
  end
  local header = string.format(
    '{"format":1,"job_id":%s,"kind":"failed","failure":%s,"arrays":[[["rows","<i8",[%d]],["steps","<i8",[%d]],'
      .. '["compute_ms","<f8",[0]],["progress","<f8",[0]]],[]]}',
    cjson.encode(id),
    cjson.encode({ code = code, message = message }),
    #rows,
    #rows
  )
  local frame = field(header) .. table.concat(places) .. table.concat(steps)
  return string.sub(redis.sha1hex(frame), 1, 8) .. frame
end

-- The rows that have not ended
local function open_rows(p, id, job)
  local seen = job.published > 0 and read_hash(p .. 'seen:' .. id) or {}
  local rows = {}
  for _, row in ipairs(expand(job.rows or '0-' .. whole(job.row_count - 1))) do
    if seen[whole(row)] ~= 'end' then
      rows[#rows + 1] = row
    end
  end
  return rows
end

local ENDED = { 'state', 'ended_at', 'code', 'message', 'bytes', 'published' }

local function end_without_worker(p, id, job, state, code, message)
  if leave_line(p, id, job) then
    local last = call('ZSCORE', p .. 'share', share_of(job))
    if last then -- its share gets its work back
      call('ZADD', p .. 'share', last - job.seconds / job.weight, share_of(job))
    end
  end
  leave_device(p, id, job)
  add_own(p, 'living_bytes', -job.bytes - job.payload_bytes)
  local rows, frames = open_rows(p, id, job), {}
  local start = job.published
  if #rows > 0 then
    frames[1] = failed_frame(id, rows, code, message)
    start = call('RPUSH', p .. 'events:' .. id, frames[1]) - 1
    job.bytes, job.published = job.bytes + #frames[1] + FRAME_BYTES, start + 1
  end
  job.state, job.ended_at, job.rows_finished, job.progress = state, now, job.row_count, job.row_count
  job.code, job.message = job.code or code, job.message or message
  save(p, id, job, ENDED)
  call('DEL', p .. 'seen:' .. id)
  call('ZADD', p .. 'kept', now, id)
  add_own(p, 'kept_bytes', job.bytes)
  reply(job, id, start, frames)
end

-- No dead letter any more; true where there was one
local function exhume(p, id)
  if call('ZREM', p .. 'dead', id) == 1 then
    add_own(p, 'dead_bytes', -(number_of(call('HGET', p .. 'dead:' .. id, 'bytes') or 0) or 0))
    call('DEL', p .. 'dead:' .. id)
    return true
  end
end

-- Given up: its waiters hear of it, and an operator finds it among the dead letters
local function bury(p, id, job, code, reason)
  end_without_worker(p, id, job, 'failed', code, 'the job was given up: ' .. reason)
  call('ZADD', p .. 'dead', now, id)
  local bytes = JOB_BYTES + call('STRLEN', p .. 'payload:' .. id) + call('STRLEN', p .. 'request:' .. id)
  local what = { 'reason', reason, 'attempts', whole(job.attempts), 'operation', job.operation, 'tenant', job.tenant }
  call('HSET', p .. 'dead:' .. id, 'rows', whole(job.row_count), 'bytes', whole(bytes), unpack(what))
  add_own(p, 'dead_bytes', bytes)
  local count = call('ZCARD', p .. 'dead')
  while count > max_dead_jobs or (count > 0 and own(p, 'dead_bytes') > max_kept_bytes) do
    local oldest = call('ZRANGE', p .. 'dead', 0, 0)[1]
    exhume(p, oldest)
    call('DEL', p .. 'payload:' .. oldest, p .. 'request:' .. oldest)
    count = count - 1
  end
end

-- A record that cannot be used: out of the queue with it, whatever it is. `job` holds what was found of it.
local function set_aside(p, id, job, reason)
  mend(job)
  if job.ended_at then
    job.state = STATES[job.state] and job.state or 'failed'
  else
    call('ZREM', p .. 'due', id)
    local names = { 'deadline' }
    for _, name in ipairs(TEXTS) do
      names[#names + 1] = name
    end
    for name in pairs(NUMBERS) do
      names[#names + 1] = name
    end
    save(p, id, job, names)
    bury(p, id, job, 'internal', reason)
  end
end

-- The job, or nothing where there is none. A damaged one is a dead letter from now on, and comes as one that failed.
local function read_job(p, id)
  local job = read_hash(p .. 'job:' .. id)
  if next(job) == nil then
    return nil
  end
  if not is_sound(job) then
    set_aside(p, id, job, 'its record is damaged: ' .. mend(job))
  end
  return job
end

local function cancel(p, id, job)
  local was = job.state
  if was == 'queued' or was == 'running' then
    end_without_worker(p, id, job, 'cancelled', 'cancelled', 'the job was cancelled')
    call('DEL', p .. 'payload:' .. id)
  end
  if was == 'running' then
    redis.call('PUBLISH', CANCELLED, id)
  end
  return was
end

local function sweep(p)
  for _, id in ipairs(call('ZRANGEBYSCORE', p .. 'due', '-inf', whole(now), 'LIMIT', 0, 64)) do
    local job = read_job(p, id)
    if job and job.state == 'queued' then
      end_without_worker(p, id, job, 'expired', 'deadline_exceeded', 'the deadline passed in the queue')
      call('DEL', p .. 'payload:' .. id)
    end
    call('ZREM', p .. 'due', id)
  end
  local count = call('ZCARD', p .. 'kept')
  for _ = 1, math.min(count, 64) do
    local oldest = call('ZRANGE', p .. 'kept', 0, 0, 'WITHSCORES')
    local old = tonumber(oldest[2]) + result_ttl_ms <= now or count > max_kept_jobs
    if not old and (own(p, 'kept_bytes') <= max_kept_bytes or count == 1) then
      return
    end
    forget(p, oldest[1])
    count = count - 1
  end
end

-- A job enters the line: new, or from the dead letters

local ENTERED = {
  'format', 'state', 'tenant', 'class', 'weight', 'seconds', 'operation', 'detached', 'key', 'body_sha256', 'rows',
  'row_count', 'bytes', 'payload_bytes', 'replicas', 'deadline', 'finish', 'stamp',
}

local function enter(p, id, job, has_request)
  local last = number_of(call('ZSCORE', p .. 'share', share_of(job))) or 0
  job.finish = math.max(own(p, 'virtual_time'), last) + job.seconds / job.weight
  call('ZADD', p .. 'share', job.finish, share_of(job))
  job.stamp = math.max(own(p, 'stamp') + 1, now * 1000)
  set_own(p, 'stamp', job.stamp)
  job.state = 'queued'
  save(p, id, job, ENTERED)
  add_own(p, 'living_bytes', job.bytes + job.payload_bytes)
  if job.key then
    call('SET', p .. 'idem:' .. job.tenant .. ':' .. job.key, id)
  end
  if has_request then
    call('ZADD', p .. 'jobs:' .. job.tenant, job.stamp, id)
  end
  wait_in_line(p, id, job)
end

-- What the API says of a job, from ARGV[at] on: one value for each of FIELDS; empty ones are left out
local function job_at(at, payload_bytes, request_bytes)
  local job = { replicas = '' }
  for i, name in ipairs(FIELDS) do
    local value = ARGV[at + i - 1]
    job[name] = value ~= '' and value or nil
  end
  job.tenant, job.operation = job.tenant or '', job.operation or ''
  job.seconds, job.weight = tonumber(job.seconds), tonumber(job.weight)
  job.row_count, job.format = tonumber(job.row_count), tonumber(job.format)
  job.bytes, job.payload_bytes = JOB_BYTES + request_bytes + 2 * #(job.key or ''), payload_bytes
  return job
end
