"""Graphs whose tensors stay on the device: IO binding, and batches padded to a few sizes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime

from model_store.manifest import GraphSpec
from service.arrays import Array
from service.graph import DeviceArray

OUT_OF_MEMORY = ("Failed to allocate memory", "out of memory", "bad_alloc")


def bucket(rows: int) -> int:
    """The next power of two: a GPU chooses kernels by shape, so equal shapes give equal bits, and few are compiled."""
    return 1 << (rows - 1).bit_length()


def pad(array: Array, rows: int) -> Array:
    """`array` with its last row repeated up to `rows` rows: padding that every graph accepts as input."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else np.ascontiguousarray(array)


class BoundArray:
    """An output on the device: `rows` rows of a padded batch."""

    __slots__ = ("rows", "value")

    def __init__(self, value: Any, rows: int) -> None:
        self.value, self.rows = value, rows

    def numpy(self) -> Array:
        array: Array = self.value.numpy()
        return array[: self.rows]


class BoundGraph:
    """A graph by IO binding. Every input has the batch in front; all have the same number of rows."""

    def __init__(self, session: Any, spec: GraphSpec, device: str) -> None:
        self.spec, self.device = spec, device
        self._session = session

    def __call__(self, **inputs: Array | DeviceArray) -> Mapping[str, DeviceArray]:
        """Raises MemoryError where the device runs out of it, so that the worker can halve the step."""
        values = list(inputs.values())
        rows = values[0].rows if isinstance(values[0], BoundArray) else len(as_host(values[0]))
        binding = self._session.io_binding()
        with memory_errors():
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, self._on_device(value, bucket(rows)))
            for tensor in self.spec.outputs:
                binding.bind_output(tensor.name, self.device)
            self._session.run_with_iobinding(binding)
        names = (tensor.name for tensor in self.spec.outputs)
        return {name: BoundArray(value, rows) for name, value in zip(names, binding.get_outputs(), strict=True)}

    def _on_device(self, value: Array | DeviceArray, rows: int) -> Any:
        if isinstance(value, BoundArray):
            return value.value
        return onnxruntime.OrtValue.ortvalue_from_numpy(pad(as_host(value), rows), self.device, 0)


def as_host(value: Array | DeviceArray) -> Array:
    """The array itself, or a copy of what lies elsewhere."""
    return value if isinstance(value, np.ndarray) else value.numpy()


@contextmanager
def memory_errors() -> Iterator[None]:
    """ONNX Runtime has one exception for everything: what is about memory becomes MemoryError."""
    try:
        yield
    except Exception as error:
        if any(sign in str(error) for sign in OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise
