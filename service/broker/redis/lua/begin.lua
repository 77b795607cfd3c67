-- begin(limits, budget_seconds, most) over the models in KEYS, in turn -> {{job id, payload, token, attempt, left_ms}, ...}
-- One job alone whose worker fell silent, or else what is next in fair order: up to the budget, but one at least.

local function begin(p, id, job)
  if job.state == 'queued' then
    leave_line(p, id, job)
    local virtual_time = math.max(own(p, 'virtual_time'), job.finish - job.share)
    set_own(p, 'virtual_time', virtual_time)
    if call('ZCARD', p .. 'lease') == 0 then
      set_own(p, 'drain_mark', now)
    end
    add_own(p, 'running_seconds', job.seconds)
  end
  add_own(p, 'token', 1)
  local token, attempt = own(p, 'token'), job.attempts + 1
  call('HSET', p .. 'job:' .. id, 'state', 'running', 'token', token, 'attempts', attempt)
  call('ZADD', p .. 'lease', whole(now + limits.lease_ms), id)
  local left = job.deadline ~= '' and whole(job.deadline - now) or ''
  return { id, call('GET', p .. 'payload:' .. id) or '', whole(token), whole(attempt), left }
end

local function bury(p, id, job)
  local reason = string.format('its worker fell silent in %s of %d attempts', job.attempts, limits.max_attempts)
  end_without_worker(p, id, job, 'failed', 'row_failed', 'the job was given up: ' .. reason)
  call('ZADD', p .. 'dead', whole(now), id)
  call('HSET', p .. 'reasons', id, job.attempts .. ' ' .. reason)
  for _, oldest in ipairs(call('ZRANGE', p .. 'dead', 0, -1 - limits.max_dead_jobs)) do
    call('ZREM', p .. 'dead', oldest)
    call('HDEL', p .. 'reasons', oldest)
    call('DEL', p .. 'payload:' .. oldest, p .. 'request:' .. oldest)
  end
end

local function overdue(p)
  while true do
    local id = call('ZRANGEBYSCORE', p .. 'lease', '-inf', whole(now), 'LIMIT', 0, 1)[1]
    local job = id and read_job(p, id)
    if not id then
      return nil
    elseif not job then
      call('ZREM', p .. 'lease', id)
    elseif tonumber(job.attempts) >= limits.max_attempts then
      bury(p, id, job)
    else
      return begin(p, id, job)
    end
  end
end

local function first(p)
  while true do
    local place = call('ZRANGE', p .. 'ready', 0, 0)[1]
    local id = place and string.match(place, '^%d+:(.*)$')
    local job = id and read_job(p, id)
    if not place or job then
      return id, job
    end
    call('ZREM', p .. 'ready', place)
  end
end

local leases = {}

local function in_turn(budget, most)
  local line = { unpack(KEYS) }
  while #line > 0 and #leases < most do
    local p = table.remove(line, 1)
    local id, job = first(p)
    if id then
      if #leases > 0 and tonumber(job.seconds) > budget then
        break
      end
      budget = budget - job.seconds
      leases[#leases + 1] = begin(p, id, job)
      line[#line + 1] = p
    end
  end
end

for _, p in ipairs(KEYS) do
  sweep(p)
  leases[1] = leases[1] or overdue(p)
end
if #leases == 0 then
  in_turn(tonumber(ARGV[2]), tonumber(ARGV[3]))
end
for _, p in ipairs(KEYS) do
  call('ZREMRANGEBYSCORE', p .. 'flow', '-inf', exact(own(p, 'virtual_time')))
  if call('ZCARD', p .. 'ready') > 0 then -- another worker's turn
    ring(p)
  end
end
return leases
