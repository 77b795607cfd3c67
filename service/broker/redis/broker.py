"""RedisBroker: the three faces over one server."""

from collections.abc import Callable

from service.broker.base import Limits
from service.broker.redis.admin import RedisAdmin
from service.broker.redis.consumer import RedisConsumer
from service.broker.redis.producer import RedisProducer
from service.broker.redis.script_client import ScriptClient
from service.broker.redis.unreadable import Unreadable
from service.jobs import FORMATS, Kinds


class RedisBroker:
    """Producer, Consumer and Admin over Redis 7 or Valkey: any number of API replicas and workers share it.

    `kinds` are the parameters that jobs may have, `formats` those of the jobs that a worker here reads.
    `unreadable` counts what was skipped. Raises QueueAway from every call that the server does not answer in time.
    """

    def __init__(
        self,
        url: str,
        limits: Limits,
        kinds: Kinds,
        clock: Callable[[], float] | None = None,
        formats: tuple[int, ...] = FORMATS,
    ) -> None:
        client, unreadable = ScriptClient(url, limits, clock), Unreadable()
        producer, admin = RedisProducer(client, unreadable), RedisAdmin(client, unreadable, kinds)
        consumer = RedisConsumer(client, unreadable, kinds, formats)
        self.formats = formats
        self.unreadable, self.close = unreadable.counts, client.close
        self.submit, self.cancel, self.abandon = producer.submit, producer.cancel, producer.abandon
        self.events, self.ends, self.request = producer.events, producer.ends, producer.request
        self.status, self.jobs, self.depth = producer.status, producer.jobs, producer.depth
        self.take, self.extend, self.release, self.emit = (
            consumer.take,
            consumer.extend,
            consumer.release,
            consumer.emit,
        )
        self.cancelled, self.heartbeat, self.control = consumer.cancelled, consumer.heartbeat, consumer.control
        self.workers, self.dead, self.replay, self.send = admin.workers, admin.dead, admin.replay, admin.send
        self.aliases, self.set_alias = admin.aliases, admin.set_alias
