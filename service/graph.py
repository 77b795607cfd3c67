"""Graph and DeviceArray protocols: what a session may know of a loaded model."""

from collections.abc import Mapping
from typing import Protocol

from model_store.manifest import GraphSpec
from service.arrays import Array


class DeviceArray(Protocol):
    """An output that is still where the graph ran; `numpy()` copies it to the host if it is elsewhere."""

    def numpy(self) -> Array: ...


class Graph(Protocol):
    """One exported graph on one device.

    Inputs are named as in `spec`, host or device arrays with the batch in front; outputs stay on the device until
    `numpy()` is called, so that one graph's output can be another's input without a copy.
    """

    @property
    def spec(self) -> GraphSpec: ...

    @property
    def device(self) -> str: ...

    def __call__(self, **inputs: Array | DeviceArray) -> Mapping[str, DeviceArray]: ...
