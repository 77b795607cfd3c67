"""The key-value cache: one slot of fixed capacity per row, all slots in one buffer."""

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from model_store.manifest import TransformerParams
from service.arrays import Array, Arrays

SIDES = ("key", "value")


class Slots:
    """Keys and values, float32 [slots, layers, kv_heads, capacity, head_size] each: what `capacity_bytes` hold, one
    slot at least.

    Rows fill the slots 0 .. n - 1, without holes: what all of them read is one view of the buffer, not a copy.
    """

    def __init__(self, params: TransformerParams, capacity_bytes: int) -> None:
        shape = (params.layers, params.kv_heads, params.capacity, params.head_size)
        self.slot_bytes = len(SIDES) * np.dtype(np.float32).itemsize * math.prod(shape)
        self.count = max(1, capacity_bytes // self.slot_bytes)
        # Reserved, not written: a slot takes memory when the first row writes in it.
        self._past: Mapping[str, Array] = {side: np.zeros((self.count, *shape), np.float32) for side in SIDES}
        self._slots: dict[Hashable, int] = {}
        self._owners: list[Hashable] = []

    def slot(self, row: Hashable) -> int:
        """The row's slot, the first free one where it has none."""
        if row not in self._slots:
            self._slots[row] = len(self._owners)
            self._owners.append(row)
        return self._slots[row]

    def release(self, row: Hashable) -> None:
        """Free the row's slot, if it has one: the last slot's row moves into the hole."""
        if (hole := self._slots.pop(row, None)) is None:
            return
        mover = self._owners.pop()
        if hole < len(self._owners):
            self._owners[hole], self._slots[mover] = mover, hole
            for past in self._past.values():
                past[hole] = past[len(self._owners)]

    def past(self, rows: Sequence[Hashable]) -> Arrays:
        """The caches of these rows, in their order: a view where their slots follow each other, else copies."""
        slots = [self.slot(row) for row in rows]
        run = range(slots[0], slots[0] + len(slots))
        where = slice(run.start, run.stop) if slots == list(run) else slots
        return {f"past_{side}": past[where] for side, past in self._past.items()}

    def write(self, row: Hashable, position: int, tokens: int, new: Arrays) -> None:
        """Put the first `tokens` entries of `new`, [layers, kv_heads, S, head_size] by side, at `position`."""
        for side, past in self._past.items():
            past[self.slot(row), :, :, position : position + tokens] = new[side][:, :, :tokens]
