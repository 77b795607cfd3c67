-- command(limits, name, argument, ...): one command on a key that may have become one of another type
return call(ARGV[2], KEYS[1], unpack(ARGV, 3))
