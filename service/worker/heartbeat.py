"""The heartbeat, in a thread of its own: a long step does not look like death, and a dead loop does."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

Beat = Callable[[], Coroutine[Any, Any, None]]


class Heartbeat:
    """Calls `beat` every `seconds` while its `with` block runs, and `end` after it, on its own event loop."""

    def __init__(self, beat: Beat, end: Beat, seconds: float) -> None:
        self._beat, self._end, self._seconds = beat, end, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._beat())
            while not self._stop.wait(self._seconds):
                runner.run(self._beat())
            runner.run(self._end())
