-- begin(limits, budget_seconds, most, formats) over the models in KEYS, in turn
-- -> {{prefix, job id, payload, token, attempt, left_ms}, ...}
-- One job alone whose worker fell silent, or else what is next in fair order: up to the budget, but one at least.
-- Jobs in a format that the worker does not read keep their places, until no worker has read it for too long.
local budget, most, readable = tonumber(ARGV[2]), tonumber(ARGV[3]), {}
local leases, lines, may_bury = {}, {}, 64

for format in string.gmatch(ARGV[4], '%d+') do
  readable[tonumber(format)] = true
end

local function note_formats(p)
  for format in pairs(readable) do
    local name = 'asked_' .. whole(format)
    if own(p, name) + 1000 <= now then
      set_own(p, name, now)
    end
  end
end

local function begin(p, id, job)
  if leave_line(p, id, job) then
    set_own(p, 'virtual_time', math.max(own(p, 'virtual_time'), job.finish - job.seconds / job.weight))
    if own(p, 'running_seconds') == 0 and call('ZCARD', p .. 'lease') == 0 then
      set_own(p, 'drain_mark', now)
    end
    add_own(p, 'running_seconds', job.seconds)
  end
  add_own(p, 'token', 1)
  job.state, job.token, job.attempts = 'running', own(p, 'token'), job.attempts + 1
  save(p, id, job, { 'state', 'token', 'attempts' })
  call('ZADD', p .. 'lease', now + lease_ms, id)
  local left_ms = job.deadline and whole(job.deadline - now) or ''
  return { p, id, call('GET', p .. 'payload:' .. id) or '', whole(job.token), whole(job.attempts), left_ms }
end

-- True where no worker reads the job: it could have been read last at `since`, or when its format was last asked for.
local function unreadable(p, format, since)
  may_bury = may_bury - 1
  return may_bury >= 0 and math.max(since, own(p, 'asked_' .. format)) + unreadable_ms < now
end

local function give_up_unread(p, id, job)
  local reason = string.format('no worker has read its format %.0f for %.0f s', job.format, unreadable_ms / 1000)
  bury(p, id, job, 'internal', reason)
end

-- A running job whose lease ran out: again, given up, or left to a worker that reads it
local function redeliver(p, id, expired_ms)
  local job = read_job(p, id)
  if not job then
    set_aside(p, id, {}, 'its record is gone')
    call('ZREM', p .. 'lease', id)
  elseif job.state ~= 'running' then
    call('ZREM', p .. 'lease', id)
  elseif not readable[job.format] then
    if unreadable(p, whole(job.format), expired_ms) then
      give_up_unread(p, id, job)
    end
  elseif job.attempts >= max_attempts then
    local reason = string.format('its worker fell silent in %.0f of %.0f attempts', job.attempts, max_attempts)
    bury(p, id, job, 'row_failed', reason)
  else
    return begin(p, id, job)
  end
end

local function overdue(p)
  local at = 0
  while true do
    local id, score = unpack(call('ZRANGEBYSCORE', p .. 'lease', '-inf', whole(now), 'WITHSCORES', 'LIMIT', at, 1))
    if not id then
      return nil
    end
    local fine, lease = pcall(redeliver, p, id, tonumber(score))
    if fine and lease then
      return lease
    elseif not fine then
      call('ZREM', p .. 'lease', id)
    elseif call('ZSCORE', p .. 'lease', id) then
      at = at + 1
    end
  end
end

-- What stands at this place of the line, if it can be run; what can never be is removed
local function candidate(p, place)
  local stamp, format, id = string.match(place, '^(%d+):(%d+):(.+)$')
  if not id then
    call('ZREM', p .. 'ready', place)
    return nil
  end
  if not readable[tonumber(format)] and not unreadable(p, format, tonumber(stamp) / 1000) then
    lines[p].skipped = lines[p].skipped + 1
    return nil
  end
  local job = read_job(p, id)
  if job and job.state == 'queued' and place_of(id, job) == place then
    if readable[job.format] then
      job.place = place
      return id, job
    end
    give_up_unread(p, id, job)
  elseif not job then
    set_aside(p, id, {}, 'its record is gone')
  end
  left_line[p] = true
  call('ZREM', p .. 'ready', place)
end

-- The next in line; the script reads the line by the page
local function first(p)
  lines[p] = lines[p] or { places = {}, at = 1, skipped = 0 }
  local line = lines[p]
  while true do
    if not line.places[line.at] then
      line.places, line.at = call('ZRANGE', p .. 'ready', line.skipped, line.skipped + 31), 1
    end
    local place = line.places[line.at]
    if not place then
      return nil
    end
    local fine, id, job = pcall(candidate, p, place)
    if not fine then
      call('ZREM', p .. 'ready', place)
    elseif id then
      return id, job
    end
    line.at = line.at + 1
  end
end

local function in_turn()
  local turns = { unpack(KEYS) }
  while #turns > 0 and #leases < most do
    local p = table.remove(turns, 1)
    local id, job = first(p)
    if id then
      if #leases > 0 and job.seconds > budget then
        break
      end
      budget = budget - job.seconds
      leases[#leases + 1] = begin(p, id, job)
      lines[p].at = lines[p].at + 1
      turns[#turns + 1] = p
    end
  end
end

-- Another worker's turn: one that reads what is next in line, and one that reads what this one does not
local function ring_for_others(p)
  local skipped = lines[p] and lines[p].skipped or 0
  for _, rank in ipairs(skipped > 0 and { 0, skipped } or { 0 }) do
    local place = call('ZRANGE', p .. 'ready', rank, rank)[1]
    local format = place and string.match(place, '^%d+:(%d+):')
    if format then
      ring(p, format)
    end
  end
end

for _, p in ipairs(KEYS) do
  sweep(p)
  note_formats(p)
  leases[1] = leases[1] or overdue(p)
end
if #leases == 0 then
  in_turn()
end
for _, p in ipairs(KEYS) do
  if left_line[p] then
    call('ZREMRANGEBYSCORE', p .. 'share', '-inf', exact(own(p, 'virtual_time')))
  end
  ring_for_others(p)
end
return leases
