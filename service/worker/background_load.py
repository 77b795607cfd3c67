"""One load of a model in a thread of its own: the loop goes on stepping."""

import threading

from model_store.store import ModelRef
from service.worker.residency import Residency, Resident


class BackgroundLoad:
    """Opens, replays and measures the model from now on. The result is registered by the loop, between two steps."""

    def __init__(self, residency: Residency, ref: ModelRef) -> None:
        self.ref = ref
        self._residency = residency
        self._resident: Resident | None = None
        self._thread = threading.Thread(target=self._run, name=f"load {ref}")
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Resident | None:
        """The loaded model, or None where it is refused: the log says why. Waits for the end."""
        self._thread.join()
        return self._resident

    def _run(self) -> None:
        self._resident = self._residency.try_open(str(self.ref))
