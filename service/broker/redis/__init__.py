"""The queue between machines: the same three faces over a Redis or Valkey server."""

from service.broker.redis.broker import RedisBroker

__all__ = ["RedisBroker"]
