-- announce(limits, model, ...): the models that anybody has asked for or served
call('SADD', KEYS[1], unpack(ARGV, 2))
