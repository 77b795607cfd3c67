"""What of a job's answer was published: each event once, whatever ranges it came in."""

import numpy as np
from numpy.typing import NDArray

from service.jobs import Events, Floats, Integers


class Publication:
    """An event's identity is (row, step), and a row's steps only rise: the last step of each row says what is new.

    Nothing is allocated for a job whose rows all end at once.
    """

    def __init__(self, rows: Integers) -> None:
        self.rows, self.finished = rows, 0
        self._last: Integers | None = None
        self._ended: NDArray[np.bool_]
        self._progress: Floats

    @property
    def complete(self) -> bool:
        return self.finished == len(self.rows)

    @property
    def progress(self) -> float:
        """The part of the job's work that is done, in [0, 1]."""
        if self._last is None:
            return float(self.complete)
        return float(self._progress.mean())

    def unfinished(self) -> Integers:
        """The rows that have not ended."""
        if self._last is None:
            return self.rows[: 0 if self.complete else len(self.rows)]
        return self.rows[~self._ended]

    def add(self, events: Events) -> Events | None:
        """The part of these events that is new, which is published from now on; None where nothing is."""
        if self.complete:
            return None
        if self._last is None and events.terminal and len(events) == len(self.rows):
            self.finished = len(self.rows)
            return events
        last = self._begin() if self._last is None else self._last
        places = np.searchsorted(self.rows, events.rows)
        new = ~self._ended[places]
        if not events.terminal:
            new &= events.steps > last[places]
        if not new.all():
            events, places = events.select(new), places[new]
        self._note(events, places, last)
        return events if len(events) else None

    def _begin(self) -> Integers:
        self._last = np.full(len(self.rows), -1)
        self._ended = np.zeros(len(self.rows), np.bool_)
        self._progress = np.zeros(len(self.rows))
        return self._last

    def _note(self, events: Events, places: Integers, last: Integers) -> None:
        if events.terminal:
            self._ended[places] = True
            self._progress[places] = 1.0
            self.finished += len(places)
        else:
            last[places] = events.steps
            if len(events.progress):
                self._progress[places] = events.progress
