-- workers(limits) -> {now in ms, id, "beat in ms, status", ...}
return { whole(now), unpack(call('HGETALL', KEYS[1])) }
