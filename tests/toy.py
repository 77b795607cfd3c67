"""A toy sixth family: it registers through the four places of the design and nothing else changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper
from pydantic import Field

from fivefold.images import Image
from fivefold.operation import (
    CSV_TYPE,
    JSON_TYPE,
    NPY_TYPE,
    PNG_TYPE,
    Answer,
    Chunk,
    InputRequest,
    Item,
    Operation,
    SamplingRequest,
)
from model_store.golden import GOLDEN, Golden, pack
from model_store.manifest import GraphSpec, Manifest, Params, Provenance, TensorSpec
from model_store.store import Model, Store, file_spec
from service import rng
from service.arrays import Columns, split
from service.families.family import Family, Sessions
from service.families.inputs import input_block
from service.families.pipeline import (
    FieldColumns,
    Fields,
    ItemStep,
    Pipeline,
    Prepared,
    Results,
    count_of,
    prepare_block,
)
from service.families.session import OneShot, ResidentRows, gather, parameters_of
from service.graph import Graph
from service.jobs import Block, Events, Parameters, Range
from service.settings import Settings

SHAPE, FLAT = (1, 2, 2), (4,)
POISON, NOT_FINITE = 666.0, 777.0  # a row with the first raises inside a step, with the second becomes NaN


class ToyParams(Params):
    """Place one: what the loop needs to know."""

    family: Literal["toy"] = "toy"
    shape: tuple[int, int, int] = SHAPE


# Place two: the contract.


class ToyScaleRequest(InputRequest):
    """2 x + 1, elementwise."""


class ToyScaled(Item):
    row: list[float]


class ToyCountRequest(SamplingRequest):
    """Start at noise, halve it `steps` times."""

    steps: Annotated[int, Field(ge=1, le=100)] = 3


class ToyCounted(Item):
    image: Image
    steps: int


class ToyTick(Chunk):
    step: int
    image: Image


SCALE: Operation[ToyScaleRequest, Answer[ToyScaled], Chunk] = Operation(
    family="toy",
    name="scale",
    scope="score",
    summary="Twice the row and one",
    request=ToyScaleRequest,
    answer=Answer[ToyScaled],
    chunk=None,
    example={"rows": [[0.0, 1.0, 2.0, 3.0]]},
    main=("row",),
    bodies={NPY_TYPE: "rows", CSV_TYPE: "rows", PNG_TYPE: "images"},
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE),
)
COUNT: Operation[ToyCountRequest, Answer[ToyCounted], ToyTick] = Operation(
    family="toy",
    name="count",
    scope="generate",
    summary="Halve noise step by step",
    request=ToyCountRequest,
    answer=Answer[ToyCounted],
    chunk=ToyTick,
    example={"n": 2, "seed": 5, "steps": 4},
    main=("image",),
    answers=(JSON_TYPE, NPY_TYPE, PNG_TYPE),
)


# Place three: parameters, pipelines and sessions.


@dataclass(frozen=True)
class ToyScaling(Parameters):
    """`ms` is for families of tests whose device takes its time."""

    graphs = ("scale",)
    ms: float = 0.0


@dataclass(frozen=True)
class ToyCounting(Parameters):
    graphs = ("halve",)
    steps: int = 3


class ScalePipeline(Pipeline[ToyScaleRequest]):
    operation = SCALE
    kind = ToyScaling

    def prepare(self, request: ToyScaleRequest, model: Model) -> Prepared:
        return input_block(request, FLAT if request.images is None else SHAPE, ToyScaling())

    def render(self, request: ToyScaleRequest, results: Results, model: Model) -> FieldColumns:
        return {"row": results.columns["y"].reshape(len(results.rows), -1)}


class CountPipeline(Pipeline[ToyCountRequest]):
    operation = COUNT
    kind = ToyCounting

    def prepare(self, request: ToyCountRequest, model: Model) -> Prepared:
        return prepare_block(request, ToyCounting(request.steps), count_of(request), work=request.steps)

    def render(self, request: ToyCountRequest, results: Results, model: Model) -> FieldColumns:
        return {"image": results.columns["x"], "steps": [request.steps] * len(results.rows)}

    def chunk(self, request: ToyCountRequest, step: ItemStep, state: Fields, model: Model) -> Fields:
        return {"step": step.step + 1, "image": step.arrays["x"]}


@dataclass
class Counters:
    """Consecutive rows: their places in the request, x [k, *SHAPE], the steps that are done, and those in all."""

    rows: np.ndarray
    x: np.ndarray
    done: int
    steps: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, where: slice) -> "Counters":
        return Counters(self.rows[where], self.x[where], self.done, self.steps)

    def halved(self, job_id: str, x: np.ndarray) -> list[Events]:
        self.x, self.done = x, self.done + 1
        step = Events(job_id, "step", self.rows, np.full(len(self), self.done - 1), {"x": x})
        end = Events(job_id, "done", self.rows, np.full(len(self), self.done), {"x": x})
        return [step, end] if self.done == self.steps else [step]


class CountSession:
    """Rows of different step counts share each step."""

    capacity = 8

    def __init__(self, halve: Graph) -> None:
        self.halve = halve
        self._resident = ResidentRows[Counters]()

    def need(self, block: Block) -> int:
        return 1

    def admit(self, rows: Range, block: Block) -> None:
        part = block[rows.start : rows.stop]
        steps = parameters_of(part, ToyCounting).steps
        self._resident.add(rows, Counters(part.rows, rng.normal(part.seeds, 0, 0, SHAPE), 0, steps))

    def ready(self, rows: Sequence[Range]) -> Sequence[Range]:
        return rows

    def step(self, rows: Sequence[Range]) -> Sequence[Events]:
        parts = [(one, part) for one in rows for part in self._resident.of(one)]
        halved = self.halve(x=np.concatenate([part.x for _, part in parts]))["y"].numpy()
        batches = split({"x": halved}, [len(part) for _, part in parts])
        events = [
            one
            for (rows_of, part), batch in zip(parts, batches, strict=True)
            for one in part.halved(rows_of.job_id, batch["x"])
        ]
        for one in rows:
            self._leave(one)
        return events

    def _leave(self, rows: Range) -> None:
        """Those that have ended."""
        start = rows.start
        for part in self._resident.of(rows):
            if part.done == part.steps:
                self._resident.remove(Range(rows.job_id, start, start + len(part)))
            start += len(part)

    def drop(self, rows: Sequence[Range]) -> None:
        for one in rows:
            self._resident.remove(one)

    def close(self) -> None:
        self._resident.clear()


def open_sessions(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
    def scale(blocks: Sequence[Block]) -> list[Columns]:
        x = gather(blocks, "x").reshape(-1, *SHAPE)
        if (x == POISON).any():
            raise ValueError("poison")
        y = graphs["scale"](x=x)["y"].numpy()
        return split({"y": np.where(y == 2 * NOT_FINITE + 1, np.nan, y)}, [len(block) for block in blocks])

    return {ToyScaling: OneShot(scale), ToyCounting: CountSession(graphs["halve"])}


# Place four: the registry line.
TOY = Family("toy", (ScalePipeline(), CountPipeline()), open_sessions)


def affine_graph(factor: float, offset: float) -> bytes:
    """ONNX bytes of y = factor x + offset on x [batch, 1, 2, 2]."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *SHAPE]) for name in ("x", "y")]
    constants = [
        helper.make_tensor("factor", TensorProto.FLOAT, [], [factor]),
        helper.make_tensor("offset", TensorProto.FLOAT, [], [offset]),
    ]
    nodes = [helper.make_node("Mul", ["x", "factor"], ["t"]), helper.make_node("Add", ["t", "offset"], ["y"])]
    graph = helper.make_graph(nodes, "affine", tensors[:1], tensors[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def publish_toy(store: Store, name: str = "toy-affine", version: str = "1") -> Model:
    """A toy model in the store, with its goldens."""
    tensor = {side: TensorSpec(name=side, dtype="float32", shape=("batch", *SHAPE)) for side in ("x", "y")}
    x = np.arange(12, dtype=np.float32).reshape(3, *SHAPE)
    coefficients = {"scale": (2.0, 1.0), "halve": (0.5, 0.0)}
    goldens = {graph: Golden({"x": x}, {"y": x * a + b}) for graph, (a, b) in coefficients.items()}
    files = {f"{graph}.onnx": affine_graph(a, b) for graph, (a, b) in coefficients.items()} | {GOLDEN: pack(goldens)}
    graphs = {
        graph: GraphSpec(
            file=f"{graph}.onnx",
            **file_spec(files[f"{graph}.onnx"]).model_dump(),
            format="onnx",
            inputs=(tensor["x"],),
            outputs=(tensor["y"],),
            golden_atol=1e-6,
        )
        for graph in coefficients
    }
    manifest = Manifest(
        name=name,
        version=version,
        graphs=graphs,
        params=ToyParams(),
        files={GOLDEN: file_spec(files[GOLDEN])},
        provenance=Provenance(
            commit="none",
            command="none",
            seed=0,
            data={},
            trained_at="never",
            training_seconds=0,
            machine="any",
            licence="Apache-2.0",
        ),
    )
    return store.publish(manifest, files)
