"""A model that answers with its input, and waits a while if told so: what remains is the cost of everything else."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fivefold.operation import Answer, Chunk, InputRequest, Item, Operation
from model_store.golden import GOLDEN, Golden, pack
from model_store.manifest import GraphSpec, Manifest, Params, Provenance, TensorSpec
from model_store.store import Model, Store, file_spec
from service.arrays import Array, Columns, split
from service.families.family import Family, Sessions
from service.families.inputs import input_block
from service.families.pipeline import FieldColumns, Pipeline, Prepared, Results
from service.families.session import OneShot, gather
from service.graph import DeviceArray, Graph
from service.jobs import Block, Parameters
from service.settings import Settings

NAME, WIDTH, GRAPH = "echo", 16, "echo"
PATH = "/v1/echo/echo"
BODY = {"model": NAME, "rows": [[i / WIDTH for i in range(WIDTH)]]}


class EchoParams(Params):
    """Nothing to know."""

    family: Literal["echo"] = "echo"


class EchoRequest(InputRequest):
    """Rows of 16 numbers."""


class Echoed(Item):
    """One row."""

    row: list[float]


@dataclass(frozen=True)
class Echoing(Parameters):
    """Nothing to say."""

    graphs = (GRAPH,)


class EchoPipeline(Pipeline[EchoRequest]):
    """POST /v1/echo/echo."""

    operation: Operation[EchoRequest, Answer[Echoed], Chunk] = Operation(
        family="echo",
        name="echo",
        scope="score",
        summary="The same again",
        request=EchoRequest,
        answer=Answer[Echoed],
        chunk=None,
        example=BODY,
        main=("row",),
        bodies={},
    )
    kind = Echoing

    def prepare(self, request: EchoRequest, model: Model) -> Prepared:
        return input_block(request, (WIDTH,), Echoing())

    def render(self, request: EchoRequest, results: Results, model: Model) -> FieldColumns:
        return {"row": results.columns["x"]}


@dataclass(frozen=True)
class EchoGraph:
    """Sleeps `seconds` a call, however many rows it has: a device that is busy while its host is not."""

    spec: GraphSpec
    seconds: float = 0.0
    device: str = "cpu"

    def __call__(self, **inputs: Array | DeviceArray) -> Mapping[str, DeviceArray]:
        if self.seconds:
            time.sleep(self.seconds)
        return {"y": _Host(np.asarray(inputs["x"]))}


@dataclass(frozen=True)
class _Host:
    array: Array

    def numpy(self) -> Array:
        return self.array


def echo_family(capacity: int = 256) -> Family:
    """The family whose session takes up to `capacity` rows a step."""

    def open_sessions(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
        def run(blocks: Sequence[Block]) -> Sequence[Columns]:
            y = graphs[GRAPH](x=gather(blocks, "x"))["y"].numpy()
            return split({"x": y}, [len(block) for block in blocks])

        return {Echoing: OneShot(run, capacity)}

    return Family("echo", (EchoPipeline(),), open_sessions)


def publish_echo(folder: Path) -> Model:
    """The echo model in a store of its own."""
    x = np.zeros((1, WIDTH), np.float32)
    files = {"echo.onnx": b"no graph: EchoGraph stands for it", GOLDEN: pack({GRAPH: Golden({"x": x}, {"y": x})})}
    spec = file_spec(files["echo.onnx"])
    sides = {name: (TensorSpec(name=name, dtype="float32", shape=("batch", WIDTH)),) for name in ("x", "y")}
    graph = GraphSpec(
        file="echo.onnx",
        **spec.model_dump(),
        format="onnx",
        inputs=sides["x"],
        outputs=sides["y"],
        golden_atol=1e-9,
    )
    return Store(folder).publish(_manifest(graph, files[GOLDEN]), files)


def _manifest(graph: GraphSpec, golden: bytes) -> Manifest:
    none = dict.fromkeys(("commit", "command", "trained_at", "machine", "licence"), "none")
    provenance = Provenance.model_validate({**none, "seed": 0, "data": {}, "training_seconds": 0})
    files = {GOLDEN: file_spec(golden)}
    return Manifest(
        name=NAME, version="1", graphs={GRAPH: graph}, params=EchoParams(), files=files, provenance=provenance
    )
