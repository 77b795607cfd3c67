-- beat(limits, id, status): a worker's heartbeat; those that have been silent for a minute are forgotten
for id, beat in pairs(read_hash(KEYS[1])) do
  local beat_ms = number_of(string.match(beat, '^%d+')) or 0
  if beat_ms + 60000 < now then
    call('HDEL', KEYS[1], id)
  end
end
call('HSET', KEYS[1], ARGV[2], whole(now) .. ' ' .. ARGV[3])
