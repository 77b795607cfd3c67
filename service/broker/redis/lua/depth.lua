-- depth(limits) -> {jobs waiting, jobs running, predicted seconds of both}
local p = KEYS[1]
sweep(p)
local seconds = own(p, 'waiting_seconds') + own(p, 'running_seconds')
return { call('ZCARD', p .. 'ready'), call('ZCARD', p .. 'lease'), exact(seconds) }
