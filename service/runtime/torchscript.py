"""Graphs in TorchScript. It is code: only residency imports this, and only where the settings allow it."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from model_store.manifest import GraphSpec
from service.arrays import Array
from service.graph import DeviceArray
from service.settings import Settings


class TorchArray:
    """An output tensor, where the graph ran."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def numpy(self) -> Array:
        return self.tensor.cpu().numpy()


class TorchGraph:
    """A scripted or traced module. Inputs go in by position, in the order of the manifest; so do outputs come out."""

    def __init__(self, module: Any, spec: GraphSpec, device: str) -> None:
        self.spec, self.device = spec, device
        self._module = module

    def __call__(self, **inputs: Array | DeviceArray) -> Mapping[str, DeviceArray]:
        tensors = [self._on_device(inputs[tensor.name]) for tensor in self.spec.inputs]
        with torch.inference_mode():
            results = self._module(*tensors)
        outputs: Sequence[torch.Tensor] = (results,) if isinstance(results, torch.Tensor) else results
        names = (tensor.name for tensor in self.spec.outputs)
        return {name: TorchArray(tensor) for name, tensor in zip(names, outputs, strict=True)}

    def _on_device(self, value: Array | DeviceArray) -> torch.Tensor:
        if isinstance(value, TorchArray):
            return value.tensor
        # A copy, because torch warns of arrays that it may not write to.
        return torch.tensor(value if isinstance(value, np.ndarray) else value.numpy(), device=self.device)


def load_graph(data: bytes, spec: GraphSpec, settings: Settings) -> TorchGraph:
    """Open a TorchScript module on the device that the settings choose."""
    device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    torch.set_num_threads(settings.intra_op_threads)
    with warnings.catch_warnings():
        # torch deprecates TorchScript as a whole; the store's format outlives that.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(io.BytesIO(data), map_location=device)  # type: ignore[no-untyped-call]
    return TorchGraph(module.eval(), spec, device)
