"""RedisBroker: the three faces over one server."""

from service.broker.redis.admin import RedisAdmin
from service.broker.redis.consumer import RedisConsumer


class RedisBroker(RedisAdmin, RedisConsumer):
    """Producer, Consumer and Admin over Redis 7 or Valkey: any number of API replicas and workers share it.

    Raises QueueAway from every call that the server does not answer in time.
    """
