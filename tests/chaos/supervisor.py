"""Keeps workers alive as a supervisor of processes does, and shoots them."""

import random
import threading
import time
from types import TracebackType
from typing import Self

from chaos.processes import Member

TICK_SECONDS = 0.01


class Supervisor:
    """While its `with` block runs there are `count` workers: one that dies is replaced at once."""

    def __init__(self, count: int, knobs: dict[str, object]) -> None:
        self._knobs, self._random = knobs, random.Random(5)
        self._lock, self._over = threading.Lock(), threading.Event()
        self._shot_at: dict[Member, float] = {}
        self.members = [Member("worker", knobs) for _ in range(count)]
        self.kills, self.recovery_seconds = 0, list[float]()
        self._thread = threading.Thread(target=self._watch, name="supervisor")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._over.set()
        self._thread.join()
        for member in self.members:
            member.end()

    def wait_until_ready(self) -> None:
        for member in list(self.members):
            member.wait_until_ready()

    def kill_one(self) -> None:
        """SIGKILL for one of those that are ready; nothing where none is."""
        with self._lock:
            if ready := [member for member in self.members if member.alive and member.ready]:
                victim = self._random.choice(ready)
                victim.kill()
                victim.process.join()
                self.kills += 1
                self._replace(victim, time.monotonic())

    def kill_every(self, seconds: float, over: threading.Event) -> threading.Thread:
        """Kill one of those that are ready, again and again, until it is over."""

        def shoot() -> None:
            while not over.wait(seconds):
                self.kill_one()

        thread = threading.Thread(target=shoot, name="shots")
        thread.start()
        return thread

    def _watch(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            with self._lock:
                for member in self.members:
                    if not member.alive:
                        self._replace(member, time.monotonic())
                for member, shot_at in list(self._shot_at.items()):
                    if member.ready:
                        self.recovery_seconds.append(time.monotonic() - shot_at)
                        del self._shot_at[member]

    def _replace(self, dead: Member, died_at: float) -> None:
        dead.process.join()
        died_at = self._shot_at.pop(dead, died_at)
        self.members[self.members.index(dead)] = heir = Member("worker", self._knobs)
        self._shot_at[heir] = died_at
