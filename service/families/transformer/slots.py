"""The key-value cache: one slot of fixed capacity per row, all slots in one buffer."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from model_store.manifest import TransformerParams
from service.arrays import Array, Arrays
from service.jobs import RowId

MOST_SLOTS, CACHE_BYTES = 32, 2**28
SIDES = ("key", "value")


class Slots:
    """Keys and values, float32 [slots, layers, kv_heads, capacity, head_size] each.

    Rows fill the slots 0 .. n - 1, without holes: what all of them read is one view of the buffer, not a copy.
    """

    def __init__(self, params: TransformerParams) -> None:
        shape = (params.layers, params.kv_heads, params.capacity, params.head_size)
        self.count = max(1, min(MOST_SLOTS, CACHE_BYTES // (len(SIDES) * 4 * math.prod(shape))))
        # Written, not only reserved: otherwise the first prompts would wait for their pages.
        self._past: Mapping[str, Array] = {side: np.full((self.count, *shape), 0, np.float32) for side in SIDES}
        self._owners: list[RowId] = []

    def slot(self, row: RowId) -> int:
        """The row's slot, the first free one where it has none."""
        if row not in self._owners:
            self._owners.append(row)
        return self._owners.index(row)

    def release(self, row: RowId) -> None:
        """Free the row's slot, if it has one: the last slot's row moves into the hole."""
        if row not in self._owners:
            return
        hole, mover = self._owners.index(row), self._owners.pop()
        if mover != row:
            self._owners[hole] = mover
            for past in self._past.values():
                past[hole] = past[len(self._owners)]

    def clear(self) -> None:
        self._owners.clear()

    def past(self, rows: Sequence[RowId]) -> Arrays:
        """The caches of these rows, in their order: a view where their slots follow each other, else copies."""
        slots = [self.slot(row) for row in rows]
        run = range(slots[0], slots[0] + len(slots))
        where = slice(run.start, run.stop) if slots == list(run) else slots
        return {f"past_{side}": past[where] for side, past in self._past.items()}

    def write(self, row: RowId, position: int, tokens: int, new: Arrays) -> None:
        """Put the first `tokens` entries of `new`, [layers, kv_heads, S, head_size] by side, at `position`."""
        for side, past in self._past.items():
            past[self.slot(row), :, :, position : position + tokens] = new[side][:, :, :tokens]
