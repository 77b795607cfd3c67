"""Graphs in ONNX Runtime: providers, sessions and what is refused before one is opened."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import onnxruntime

from model_store.manifest import GraphSpec, TensorSpec
from service.arrays import Array
from service.graph import DeviceArray, Graph
from service.runtime.binding import BoundGraph, as_host, memory_errors
from service.runtime.onnx_format import references
from service.settings import Settings

Device = Literal["cpu", "cuda"]
Provider = tuple[str, dict[str, str]]

ALLOWED_DOMAINS = {"", "ai.onnx", "com.microsoft"}
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}
# The widest first: what decides the order of additions, and so the bits of an answer.
INSTRUCTION_SETS = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "sve", "asimd")


class UnusableGraph(Exception):
    """A graph that is not what its manifest says, or that this service does not run."""


def load_graph(data: bytes, spec: GraphSpec, settings: Settings) -> Graph:
    """Open a graph on the device that the settings choose. Raises UnusableGraph."""
    refuse_foreign_parts(data, spec)
    device = choose_device(settings.device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(data, session_options(settings), providers=providers(device))
    except Exception as error:  # the engine's exceptions have no common base
        raise UnusableGraph(f"{spec.file} does not open: {error}") from error
    check_tensors(spec.file, "input", spec.inputs, session.get_inputs())
    check_tensors(spec.file, "output", spec.outputs, session.get_outputs())
    return BoundGraph(session, spec, device) if device == "cuda" else HostGraph(session, spec)


def choose_device(wanted: Literal["auto", "cpu", "cuda"], available: Sequence[str]) -> Device:
    """Raises UnusableGraph where CUDA is asked for and this onnxruntime has none."""
    cuda = "CUDAExecutionProvider" in available
    if wanted == "cuda" and not cuda:
        raise UnusableGraph(
            f"FIVEFOLD_DEVICE=cuda, but onnxruntime {onnxruntime.__version__} offers {list(available)}: "
            "install the extra gpu beside an NVIDIA driver, or set FIVEFOLD_DEVICE=auto"
        )
    return "cuda" if cuda and wanted != "cpu" else "cpu"


def providers(device: Device) -> list[Provider]:
    """Execution providers with the options that keep bits: no TF32, no algorithm search by measured time."""
    cpu: Provider = ("CPUExecutionProvider", {})
    if device == "cpu":
        return [cpu]
    return [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}), cpu]


def session_options(settings: Settings) -> Any:
    """Explicit threads, no idle spinning unless asked for, deterministic kernels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(settings.allow_spinning)))
    return options


def refuse_foreign_parts(data: bytes, spec: GraphSpec) -> None:
    """Raises UnusableGraph for weights in other files and for operators outside the allowed domains."""
    try:
        found = references(data)
    except ValueError as error:
        raise UnusableGraph(f"{spec.file}: {error}") from error
    if found.external_data:
        raise UnusableGraph(f"{spec.file} keeps weights in other files: export them inside the one file")
    if foreign := sorted(found.domains - ALLOWED_DOMAINS):
        raise UnusableGraph(f"{spec.file} uses operators of {foreign}; allowed are {sorted(ALLOWED_DOMAINS)}")


def check_tensors(file: str, side: str, declared: Sequence[TensorSpec], actual: Sequence[Any]) -> None:
    """Names, types and fixed dimensions are those of the manifest. Raises UnusableGraph with both."""
    wanted = {tensor.name: (tensor.dtype, _fixed(tensor.shape)) for tensor in declared}
    found = {tensor.name: (DTYPES.get(tensor.type, tensor.type), _fixed(tensor.shape)) for tensor in actual}
    if wanted != found:
        raise UnusableGraph(f"{file}: its {side}s are {found}, the manifest says {wanted}")


def scope(settings: Settings) -> str:
    """Where answers are exact: runtime, device and instruction set."""
    device = choose_device(settings.device, onnxruntime.get_available_providers())
    return f"onnxruntime {onnxruntime.__version__}, {device}, {instruction_set()}"


def instruction_set(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The widest instruction set that kernels choose by, or the architecture where the system does not tell."""
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return next((name for name in INSTRUCTION_SETS if name in flags), platform.machine())


class HostArray:
    """An output in host memory."""

    __slots__ = ("array",)

    def __init__(self, array: Array) -> None:
        self.array = array

    def numpy(self) -> Array:
        return self.array


class HostGraph:
    """A graph on the CPU."""

    device = "cpu"

    def __init__(self, session: Any, spec: GraphSpec) -> None:
        self.spec = spec
        self._session = session
        self._outputs = [tensor.name for tensor in spec.outputs]

    def __call__(self, **inputs: Array | DeviceArray) -> Mapping[str, DeviceArray]:
        """Raises MemoryError where the engine runs out of it, so that the worker can halve the step."""
        arrays = {name: as_host(value) for name, value in inputs.items()}
        with memory_errors():
            results = self._session.run(self._outputs, arrays)
        return dict(zip(self._outputs, map(HostArray, results), strict=True))


def _fixed(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)
