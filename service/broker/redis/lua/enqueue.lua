-- enqueue(limits, id, payload, request, replica, left_ms, name, value, ...) -> {outcome, ...}
local p, id, payload, request = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local job = { replicas = ARGV[5], deadline = '' }
for i = 7, #ARGV, 2 do
  job[ARGV[i]] = ARGV[i + 1]
end
sweep(p)

local function join(other, there)
  if there.detached == '0' and job.detached == '1' then
    call('HSET', p .. 'job:' .. other, 'detached', '1')
  end
  if request ~= '' and call('EXISTS', p .. 'request:' .. other) == 0 then
    call('SET', p .. 'request:' .. other, request)
    call('ZADD', p .. 'jobs:' .. job.tenant, string.match(there.place, '^%d+'), other)
  end
  return { 'existing', other }
end

local function same()
  local other = job.key ~= '' and call('GET', p .. 'idem:' .. job.tenant .. ':' .. job.key) or id
  local there = read_job(p, other)
  if there and there.body_sha256 ~= job.body_sha256 then
    return { 'other_body', there.body_sha256 }
  elseif there and there.state ~= 'cancelled' and there.state ~= 'expired' then
    return join(other, there)
  end
end

local function refusal()
  local waiting, seconds = call('ZCARD', p .. 'ready'), own(p, 'waiting_seconds')
  if waiting > 0 and seconds + job.seconds > limits.max_queue_seconds then
    return { 'full_of_work', exact(seconds), exact(drain_rate(p)) }
  elseif waiting >= limits.max_queued_jobs then
    return { 'full_of_jobs', exact(waiting), exact(seconds), exact(drain_rate(p)) }
  elseif ARGV[6] ~= '' then
    local flow = tonumber(call('ZSCORE', p .. 'flow', job.flow)) or 0
    local finish = math.max(own(p, 'virtual_time'), flow) + job.seconds / job.weight
    local ahead = seconds_before(p, exact(finish)) / drain_rate(p)
    if (ahead + job.seconds) * 1000 > tonumber(ARGV[6]) then
      return { 'too_late', exact(ahead) }
    end
    job.deadline = whole(now + ARGV[6])
  end
end

local answer = same() or refusal()
if not answer then
  call('SET', p .. 'payload:' .. id, payload)
  if request ~= '' then
    call('SET', p .. 'request:' .. id, request)
  end
  enter(p, id, job)
  answer = { 'accepted', id }
end
return answer
