-- dead(limits) -> {{id, {name, value, ...}}, ...}: the given-up jobs of one model, the oldest first
local p, found = KEYS[1], {}
for _, id in ipairs(call('ZRANGE', p .. 'dead', 0, -1)) do
  found[#found + 1] = { id, call('HGETALL', p .. 'dead:' .. id) }
end
return found
