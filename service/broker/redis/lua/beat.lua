-- beat(limits, id, status): a worker's heartbeat; those that have been silent for a minute are forgotten
local flat = call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  if tonumber(string.match(flat[i + 1], '^%d+')) + 60000 < now then
    call('HDEL', KEYS[1], flat[i])
  end
end
call('HSET', KEYS[1], ARGV[2], whole(now) .. ' ' .. ARGV[3])
