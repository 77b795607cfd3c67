-- enqueue(limits, replica, then per job: id, payload, request, left_ms, and FIELDS) -> {{outcome, ...}, ...}
-- All jobs of one model that came in one tick. What goes wrong with one is its own answer.
local p, replica, stride = KEYS[1], ARGV[2], #FIELDS + 4
local waiting

local function no_room(bytes)
  local seconds = own(p, 'waiting_seconds') + own(p, 'running_seconds')
  return { 'full_of_bytes', whole(own(p, 'living_bytes')), whole(bytes), exact(seconds), exact(drain_rate(p)) }
end

local function join(id, there, job, request)
  if not there.detached and job.detached then
    call('HSET', p .. 'job:' .. id, 'detached', '1')
  end
  if request ~= '' and call('EXISTS', p .. 'request:' .. id) == 0 then
    if not there.ended_at and own(p, 'living_bytes') + #request > max_queue_bytes then
      return no_room(#request)
    end
    call('SET', p .. 'request:' .. id, request)
    call('HSET', p .. 'job:' .. id, 'bytes', there.bytes + #request)
    add_own(p, there.ended_at and 'kept_bytes' or 'living_bytes', #request)
    call('ZADD', p .. 'jobs:' .. job.tenant, there.stamp, id)
  end
  return { 'existing', id }
end

local function same(id, job, request)
  local other = job.key and call('GET', p .. 'idem:' .. job.tenant .. ':' .. job.key) or id
  local there = read_job(p, other)
  if there and there.body_sha256 ~= job.body_sha256 then
    return { 'other_body', there.body_sha256 or '' }
  elseif there and there.state ~= 'cancelled' and there.state ~= 'expired' then
    return join(other, there, job, request)
  elseif there and other == id then
    forget(p, id)
  end
end

local function refusal(job, left_ms)
  local seconds = own(p, 'waiting_seconds')
  if waiting > 0 and seconds + job.seconds > max_queue_seconds then
    return { 'full_of_work', exact(seconds), exact(drain_rate(p)) }
  elseif waiting >= max_queued_jobs then
    return { 'full_of_jobs', exact(waiting), exact(seconds), exact(drain_rate(p)) }
  elseif own(p, 'living_bytes') + job.bytes + job.payload_bytes > max_queue_bytes then
    return no_room(job.bytes + job.payload_bytes)
  elseif left_ms then
    local last = number_of(call('ZSCORE', p .. 'share', share_of(job))) or 0
    local finish = math.max(own(p, 'virtual_time'), last) + job.seconds / job.weight
    local ahead = seconds_before(p, finish) / drain_rate(p)
    if (ahead + job.seconds) * 1000 > left_ms then
      return { 'too_late', exact(ahead) }
    end
    job.deadline = now + left_ms
  end
end

local function enqueue(at)
  local id, payload, request, left_ms = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local job = job_at(at + 4, #payload, #request)
  job.replicas = replica
  local answer = same(id, job, request) or refusal(job, left_ms)
  if not answer then
    call('SET', p .. 'payload:' .. id, payload)
    if request ~= '' then
      call('SET', p .. 'request:' .. id, request)
    end
    enter(p, id, job, request ~= '')
    call_workers(p, job.format, waiting)
    waiting = waiting + 1
    answer = { 'accepted', id }
  end
  return answer
end

sweep(p)
waiting = call('ZCARD', p .. 'ready')
local answers = {}
for at = 3, #ARGV, stride do
  local fine, answer = pcall(enqueue, at)
  answers[#answers + 1] = fine and answer or { 'broken', type(answer) == 'table' and answer.err or tostring(answer) }
end
return answers
