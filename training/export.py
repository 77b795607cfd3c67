"""Exports networks to ONNX or TorchScript graphs, checked before they exist for anyone else."""

import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.helper import tensor_dtype_to_np_dtype
from torch import Tensor, nn
from torch.nn import functional

from model_store.golden import Golden
from model_store.manifest import Exactness, GraphSpec, TensorSpec
from model_store.store import file_spec
from training.checks import Arrays, ExportRefused, check, measure_exactness, runner

OPSET = 21  # the first with the real GroupNormalization; the denoiser was 3 % slower at 23
CHUNK = 250  # rows
VECTOR = 16  # elements: a whole number of the widest vector registers


@dataclass(frozen=True)
class Exported:
    """The bytes of a graph and its specification."""

    data: bytes
    spec: GraphSpec


@dataclass(frozen=True)
class GraphSource:
    """What becomes a graph: `module` takes the example's inputs, in its order, and returns tensors named `outputs`.

    `example(n)` gives the inputs of n rows, all with a leading batch dimension. `atol` is the largest absolute
    deviation from torch that is accepted, and the tolerance of the golden file. With exactness "bitwise" a row has
    the same bits in every batch, with "bucketed" in every batch of the same size: an ONNX graph without is refused.
    """

    name: str
    module: nn.Module
    example: Callable[[int], dict[str, Tensor]]
    outputs: tuple[str, ...]
    atol: float
    exactness: Exactness = "bitwise"

    def onnx(self) -> Exported:
        """The ONNX graph. Raises ExportRefused where it is not what its specification declares."""
        batch = torch.export.Dim("batch", min=1, max=1 << 16)
        with warnings.catch_warnings():
            # The exporter copies its own deprecated tree specifications, and remarks that all inputs share the batch.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name: batch", UserWarning)
            program = torch.onnx.export(
                self.module.eval(),
                kwargs=(inputs := self.example(5)),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(self.outputs),
                dynamic_shapes={name: {0: batch} for name in inputs},
                verbose=False,
            )
        if program is None:
            raise ExportRefused(f"{self.name}: torch.onnx.export gave no program")
        model = onnx.load_from_string(program.model_proto.SerializeToString())
        data, graph = _without_notes(model).SerializeToString(), model.graph
        return self._checked(data, "onnx", tuple(map(_onnx_spec, graph.input)), tuple(map(_onnx_spec, graph.output)))

    def torchscript(self) -> Exported:
        """The traced TorchScript graph, under the same contract; it declares the exactness that it has here.

        Torch chooses the kernel of a matrix product by the size of the batch and, on some processors, by the row.
        """
        inputs = self.example(5)
        with warnings.catch_warnings(), torch.no_grad():
            # torch.jit is deprecated, and TorchScript still one of the two formats that are served.
            warnings.simplefilter("ignore", DeprecationWarning)
            traced = torch.jit.trace(self.module.eval(), tuple(inputs.values()))  # type: ignore[no-untyped-call]
            torch.jit.save(traced, buffer := io.BytesIO())
        results = named_outputs(self.outputs, self.module(*inputs.values()))
        specs = [tuple(_torch_spec(*item) for item in tensors.items()) for tensors in (inputs, results)]
        loose = replace(self, exactness="token_equal")._checked(_without_debug_files(buffer), "torchscript", *specs)
        exactness = measure_exactness(loose.data, loose.spec, self.example)
        return replace(loose, spec=loose.spec.model_copy(update={"exactness": exactness}))

    def _checked(
        self,
        data: bytes,
        kind: Literal["onnx", "torchscript"],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> Exported:
        spec = GraphSpec(
            file=f"{self.name}.{'onnx' if kind == 'onnx' else 'pt'}",
            format=kind,
            inputs=inputs,
            outputs=outputs,
            exactness=self.exactness,
            golden_atol=self.atol,
            **file_spec(data).model_dump(),
        )
        check(data, spec, self.module, self.example)
        return Exported(data, spec)


def record(exported: Exported, inputs: Mapping[str, Tensor]) -> Golden:
    """What the exported graph answers to `inputs`, for the golden file."""
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    return Golden(arrays, runner(exported.data, exported.spec)(arrays))


def answer(exported: Exported, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    """What the exported graph answers to many rows, run in chunks: arrays by name, float32."""
    run, count = runner(exported.data, exported.spec), len(next(iter(inputs.values())))
    parts = [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]
    chunks = [run({name: array[part] for name, array in inputs.items()}) for part in parts]
    return {name: np.concatenate([chunk[name] for chunk in chunks]).astype(np.float32) for name in chunks[0]}


def row_stable(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply an element-wise function to x [batch, ...] so that a row's bits do not depend on the batch.

    ONNX Runtime's CPU kernels of Log, LogSigmoid, Sin, Cos, Softplus, Atan and Mish treat the last elements of a
    tensor with other instructions than those before. Rows padded to a multiple of 16 elements have no such tail.
    """
    flat = x.reshape(x.shape[0], -1)
    width = flat.shape[1]
    padded = functional.pad(flat, (0, -width % VECTOR), value=1.0)  # 1 is in the domain of all of them
    return function(padded)[:, :width].reshape(x.shape)


def row_sum(x: Tensor) -> Tensor:
    """The sum of each row of x [B, ...]: [B], with bits that do not depend on the batch.

    ONNX Runtime's ReduceSum begins with other instructions at an unaligned address. Rows padded to a multiple of 16
    elements are aligned alike.
    """
    flat = x.reshape(x.shape[0], -1)
    return functional.pad(flat, (0, -flat.shape[1] % VECTOR)).sum(1)


def named_outputs(names: tuple[str, ...], results: Tensor | tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The outputs of a module by name, whether it returns one tensor or several."""
    return dict(zip(names, (results,) if isinstance(results, Tensor) else results, strict=True))


def _without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in place, without the exporter's notes: paths on this machine, and half of the size."""
    graph = model.graph
    for noted in (graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del noted.metadata_props[:]
    return model


def _without_debug_files(archive: io.BytesIO) -> bytes:
    """A TorchScript archive without the files that say where its source code was on this machine."""
    with zipfile.ZipFile(archive) as given, zipfile.ZipFile(kept := io.BytesIO(), "w") as copy:
        for member in given.infolist():
            if not member.filename.endswith(".debug_pkl"):
                copy.writestr(member, given.read(member))
    return kept.getvalue()


def _onnx_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(size.dim_param or size.dim_value for size in tensor.shape.dim)
    dtype = tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec.model_validate({"name": value.name, "dtype": dtype, "shape": shape})


def _torch_spec(name: str, tensor: Tensor) -> TensorSpec:
    dtype, shape = tensor.numpy(force=True).dtype.name, ("batch", *tensor.shape[1:])
    return TensorSpec.model_validate({"name": name, "dtype": dtype, "shape": shape})
