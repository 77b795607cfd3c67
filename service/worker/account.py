"""What the resident rows of a job have had of the device."""

import numpy as np

from service.jobs import Block, Events, Floats, Integers, Range


class Account:
    """A job's rows: the milliseconds of the steps that each took part in, the evaluations it had, how many are left."""

    def __init__(self, block: Block) -> None:
        self.block, self.rows_left = block, len(block)
        self._compute_ms: Floats = np.zeros(len(block))
        self._evaluations: Integers = np.zeros(len(block), np.int64)

    def charge(self, rows: Range, milliseconds: float) -> None:
        """These rows took part in a step."""
        self._compute_ms[rows.start : rows.stop] += milliseconds
        self._evaluations[rows.start : rows.stop] += self.block.parameters.step_evaluations

    def state(self, events: Events, scope: str) -> list[Range]:
        """Add to the events what their rows have had; returns where those rows stand in the block."""
        positions = self.block.positions(events.rows)
        events.compute_ms = self._compute_ms[positions]
        events.progress = np.minimum(1.0, self._evaluations[positions] / self.block.work[positions])
        events.scope = scope
        return runs(events.job_id, positions)


def runs(job_id: str, positions: Integers) -> list[Range]:
    """Ascending positions as ranges."""
    first, last = int(positions[0]), int(positions[-1])
    if last - first + 1 == len(positions):
        return [Range(job_id, first, last + 1)]
    parts = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    return [Range(job_id, int(part[0]), int(part[-1]) + 1) for part in parts]
