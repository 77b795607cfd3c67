"""What a graph must prove at its export: declared tensors, parity with torch, bits that ignore the batch."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_store.manifest import Exactness, GraphSpec

Arrays = Mapping[str, NDArray[np.generic]]
Runner = Callable[[Arrays], Arrays]
Example = Callable[[int], dict[str, Tensor]]

PARITY_BATCHES = (2, 5, 7)
STABILITY_BATCHES = (1, 2, 7, 32)
STABILITY_ROWS = 33  # one more than the largest batch, so that neighbours always change
ORDERS = 3  # permutations of the rows: positions and neighbours


class ExportRefused(Exception):
    """A graph that does not compute what its network does, or not as exactly as it declares."""


def check(data: bytes, spec: GraphSpec, module: nn.Module, example: Example) -> None:
    """All checks. Raises ExportRefused."""
    check_declaration(data, spec, example)
    check_parity(data, spec, module, example)
    check_row_stability(data, spec, example)


def check_declaration(data: bytes, spec: GraphSpec, example: Example) -> None:
    """Names, types and shapes of the actual tensors are those of `spec`, "batch" being the number of rows."""
    inputs = _arrays(example(5))
    for tensors, arrays in ((spec.inputs, inputs), (spec.outputs, runner(data, spec)(inputs))):
        declared = {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors}
        actual = {name: (str(array.dtype), ("batch", *array.shape[1:])) for name, array in arrays.items()}
        if declared != actual or any(len(array) != 5 for array in arrays.values()):
            raise ExportRefused(f"{spec.file} declares {declared}, its tensors are {actual}")


def check_parity(data: bytes, spec: GraphSpec, module: nn.Module, example: Example) -> float:
    """The largest absolute deviation from torch over three batch sizes. Beyond spec.golden_atol: ExportRefused."""
    run, worst = runner(data, spec), 0.0
    for batch in PARITY_BATCHES:
        inputs = example(batch)
        with torch.no_grad():
            results = module(*inputs.values())
        wanted = (results,) if isinstance(results, Tensor) else results
        for want, (name, found) in zip(wanted, run(_arrays(inputs)).items(), strict=True):
            deviation = float(np.max(np.abs(found.astype(np.float64) - want.numpy().astype(np.float64))))
            if not deviation <= spec.golden_atol:
                raise ExportRefused(
                    f"{spec.file}: {name} deviates from torch by {deviation:g} at batch {batch}, "
                    f"the tolerance is {spec.golden_atol:g}"
                )
            worst = max(worst, deviation)
    return worst


def check_row_stability(data: bytes, spec: GraphSpec, example: Example) -> None:
    """A row's outputs have the same bits for 1 and 2 threads, at any position and beside any neighbours.

    And, with exactness "bitwise", in every batch size; "bucketed" compares within one batch size only, and
    "token_equal" asks for `golden_atol` instead of bits.
    """
    rows = _arrays(example(STABILITY_ROWS))
    tolerance = spec.golden_atol if spec.exactness == "token_equal" else 0.0
    seen: dict[tuple[int, int], list[NDArray[Any]]] = {}
    for threads, batch in product((1, 2), STABILITY_BATCHES):
        run = runner(data, spec, threads)
        for index in _batches(batch):
            outputs = run({name: array[index] for name, array in rows.items()})
            for position, row in enumerate(index.tolist()):
                found = [array[position] for array in outputs.values()]
                key = (row, batch if spec.exactness == "bucketed" else 0)
                if not _alike(seen.setdefault(key, found), found, tolerance):
                    raise ExportRefused(
                        f"{spec.file} declares {spec.exactness}, but row {row} has other bits "
                        f"in a batch of {batch} at position {position} with {threads} threads"
                    )


def measure_exactness(data: bytes, spec: GraphSpec, example: Example) -> Exactness:
    """The strongest exactness that the graph has on this machine."""
    for exactness in ("bitwise", "bucketed"):
        with suppress(ExportRefused):
            check_row_stability(data, spec.model_copy(update={"exactness": exactness}), example)
            return exactness
    return "token_equal"


def _alike(one: list[NDArray[Any]], other: list[NDArray[Any]], tolerance: float) -> bool:
    if tolerance:
        return all(np.allclose(a, b, rtol=0.0, atol=tolerance) for a, b in zip(one, other, strict=True))
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def runner(data: bytes, spec: GraphSpec, threads: int = 1) -> Runner:
    """A function that runs the graph on the CPU: arrays by name -> arrays by name."""
    return _onnx_runner(data, threads) if spec.format == "onnx" else _torchscript_runner(data, spec, threads)


def _onnx_runner(data: bytes, threads: int) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _torchscript_runner(data: bytes, spec: GraphSpec, threads: int) -> Runner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(io.BytesIO(data))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def run(inputs: Arrays) -> Arrays:
        torch.set_num_threads(threads)
        results = module(*(torch.from_numpy(np.asarray(inputs[tensor.name])) for tensor in spec.inputs))
        torch.set_num_threads(1)
        values = (results,) if isinstance(results, Tensor) else results
        return {tensor.name: value.numpy() for tensor, value in zip(spec.outputs, values, strict=True)}

    return run


def _batches(batch: int) -> Iterator[NDArray[np.int64]]:
    """Every row in batches of one size, in several orders."""
    random = np.random.default_rng(batch)
    for _ in range(ORDERS):
        order = random.permutation(STABILITY_ROWS)
        yield from (order[start : start + batch] for start in range(0, STABILITY_ROWS - batch + 1, batch))


def _arrays(tensors: dict[str, Tensor]) -> dict[str, NDArray[np.generic]]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
