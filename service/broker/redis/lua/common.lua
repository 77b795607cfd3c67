-- What the scripts share. `p` is the prefix of one model's keys, "ff:{model}:"; see keys.py for what they hold.
-- Time is the server's, in whole milliseconds: no client's clock is trusted (ARGV[1] brings one in tests only).

local call = redis.call
local limits = cjson.decode(ARGV[1])
local GIVEN_UP = 2147483648 -- the index of a failure that is no step: beyond any step of the row

local now = limits.now_ms
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function whole(number)
  return string.format('%.0f', number)
end

local function exact(number)
  return string.format('%.17g', number)
end

local function read_hash(key)
  local flat, fields = call('HGETALL', key), {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end

local function read_job(p, id)
  local job = read_hash(p .. 'job:' .. id)
  return job.state and job
end

-- The queue's own numbers: read once, and those that changed are written once, by finish_script

local numbers, changed = {}, {}

local function own(p, name)
  numbers[p] = numbers[p] or read_hash(p .. 'queue')
  return tonumber(numbers[p][name]) or 0
end

local function set_own(p, name, number)
  own(p, name)
  numbers[p][name] = number
  changed[p] = changed[p] or {}
  changed[p][name] = true
end

local function add_own(p, name, number)
  set_own(p, name, own(p, name) + number)
end

-- Replies: one message per API replica and script, with every event that was published

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
    messages[replica] = (messages[replica] or '') .. text
  end
end

local function finish_script()
  for replica, text in pairs(messages) do
    call('PUBLISH', 'ff:reply:' .. replica, text)
  end
  for p, names in pairs(changed) do
    local flat = {}
    for name in pairs(names) do
      flat[#flat + 1] = name
      flat[#flat + 1] = exact(numbers[p][name])
    end
    call('HSET', p .. 'queue', unpack(flat))
  end
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

local function ring(p)
  if call('LLEN', p .. 'bell') == 0 then
    call('RPUSH', p .. 'bell', '1')
  end
end

local function wait_in_line(p, id, job)
  call('ZADD', p .. 'ready', job.finish, job.place)
  add_own(p, 'waiting_seconds', job.seconds)
  if job.deadline ~= '' then
    call('ZADD', p .. 'due', job.deadline, id)
  end
  if call('ZCARD', p .. 'ready') == 1 then -- workers that are busy and have room hear of it between two steps
    call('PUBLISH', 'ff:arrived', p)
  end
  ring(p)
end

local function leave_line(p, id, job)
  call('ZREM', p .. 'ready', job.place)
  if job.deadline ~= '' then
    call('ZREM', p .. 'due', id)
  end
  if call('ZCARD', p .. 'ready') == 0 then -- the busy period is over: nobody owes anything
    set_own(p, 'waiting_seconds', 0)
    call('DEL', p .. 'flow')
  else
    add_own(p, 'waiting_seconds', -job.seconds)
  end
end

local function leave_device(p, id, job)
  call('ZREM', p .. 'lease', id)
  if call('ZCARD', p .. 'lease') == 0 then
    set_own(p, 'running_seconds', 0)
  else
    add_own(p, 'running_seconds', -job.seconds)
  end
end

-- What goes before a virtual finish time, counted exactly and weighed by the mean: to add up thousands would block all.
local function seconds_before(p, finish)
  local waiting = call('ZCARD', p .. 'ready')
  if waiting == 0 then
    return 0
  end
  return call('ZCOUNT', p .. 'ready', '-inf', '(' .. finish) * own(p, 'waiting_seconds') / waiting
end

-- Ended jobs are kept for a while, within bounds; a dead letter's payload stays until it is replayed or pushed out

local function forget(p, id)
  local job = call('HMGET', p .. 'job:' .. id, 'tenant', 'key', 'bytes', 'state')
  call('ZREM', p .. 'kept', id)
  add_own(p, 'kept_bytes', 0 - (job[3] or 0))
  call('DEL', p .. 'job:' .. id, p .. 'events:' .. id, p .. 'seen:' .. id)
  local dead = job[4] == 'failed' and call('ZSCORE', p .. 'dead', id)
  local had_request = dead or call('DEL', p .. 'request:' .. id) == 1
  if job[1] and had_request then
    call('ZREM', p .. 'jobs:' .. job[1], id)
  end
  if job[1] and job[2] ~= '' then
    local key = p .. 'idem:' .. job[1] .. ':' .. job[2]
    if call('GET', key) == id then -- another try may have the key by now
      call('DEL', key)
    end
  end
end

local function keep(p, id, job)
  call('ZADD', p .. 'kept', whole(now), id)
  add_own(p, 'kept_bytes', job.bytes)
end

local function end_without_worker(p, id, job, state, code, message)
  if job.state == 'queued' then
    leave_line(p, id, job)
    local last = call('ZSCORE', p .. 'flow', job.flow)
    if last then -- its flow gets its work back
      call('ZADD', p .. 'flow', exact(last - job.share), job.flow)
    end
  else
    leave_device(p, id, job)
  end
  local start, frames = call('LLEN', p .. 'events:' .. id), {}
  for row in string.gmatch(job.rows, '%d+') do
    if call('HSETNX', p .. 'seen:' .. id, row, '1') == 1 then
      local failure = { code = code, message = message }
      local header = { row = tonumber(row), index = GIVEN_UP, kind = 'failed', error = failure }
      local frame = field(cjson.encode(header))
      call('RPUSH', p .. 'events:' .. id, frame)
      frames[#frames + 1] = frame
    end
  end
  local hash = p .. 'job:' .. id
  job.state = state
  call('HSET', hash, 'state', state, 'ended_at', whole(now), 'rows_finished', job.row_count, 'progress', job.row_count)
  call('HSETNX', hash, 'code', code)
  call('HSETNX', hash, 'message', message)
  keep(p, id, job)
  reply(job, id, start, frames)
end

local function cancel(p, id, job)
  local was = job.state
  if was == 'queued' or was == 'running' then
    end_without_worker(p, id, job, 'cancelled', 'cancelled', 'the job was cancelled')
    call('DEL', p .. 'payload:' .. id)
  end
  if was == 'running' then
    call('PUBLISH', 'ff:cancelled', id)
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
  for _ = 1, 64 do
    local oldest = call('ZRANGE', p .. 'kept', 0, 0, 'WITHSCORES')
    local count = call('ZCARD', p .. 'kept')
    if count == 0 then
      return
    end
    local old = tonumber(oldest[2]) + limits.result_ttl_ms <= now or count > limits.max_kept_jobs
    if not old and (own(p, 'kept_bytes') <= limits.max_kept_bytes or count == 1) then
      return
    end
    forget(p, oldest[1])
  end
end

-- A job enters the line: new, or from the dead letters

local function enter(p, id, job)
  local flow = tonumber(call('ZSCORE', p .. 'flow', job.flow)) or 0
  job.share = exact(job.seconds / job.weight)
  job.finish = exact(math.max(own(p, 'virtual_time'), flow) + job.share)
  call('ZADD', p .. 'flow', job.finish, job.flow)
  local stamp = math.max(own(p, 'stamp') + 1, now * 1000)
  set_own(p, 'stamp', stamp)
  job.place = string.format('%020.0f:%s', stamp, id)
  job.state, job.rows_finished, job.rows_done, job.progress = 'queued', '0', '0', '0'
  job.token, job.attempts, job.submitted_at = '0', '0', whole(now)
  local flat = {}
  for name, value in pairs(job) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  call('HSET', p .. 'job:' .. id, unpack(flat))
  if job.key ~= '' then
    call('SET', p .. 'idem:' .. job.tenant .. ':' .. job.key, id)
  end
  if call('EXISTS', p .. 'request:' .. id) == 1 then
    call('ZADD', p .. 'jobs:' .. job.tenant, whole(stamp), id)
  end
  wait_in_line(p, id, job)
end
