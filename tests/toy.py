"""A toy sixth family: it registers through the four places of the design and nothing else changes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper
from pydantic import Field

from fivefold.errors import InvalidInput
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
from service import images, rng
from service.arrays import Arrays
from service.families.pipeline import Fields, Pipeline, Refusal, count_of, prepare_each
from service.families.registry import Family
from service.families.session import OneShot, Session
from service.graph import Graph
from service.jobs import Event, Row, RowId

SHAPE = (1, 2, 2)
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


# Place three: pipelines and sessions.


class ScalePipeline(Pipeline[ToyScaleRequest]):
    operation = SCALE
    session_kind = "scale"

    def prepare(self, request: ToyScaleRequest, model: Model) -> list[Row | Refusal]:
        def make(index: int, seed: int) -> Row:
            if request.rows is not None:
                if len(request.rows[index]) != 4:
                    raise InvalidInput(f"{len(request.rows[index])} numbers given, 4 expected: send rows of 4 numbers")
                x = np.array(request.rows[index], np.float32).reshape(SHAPE)
            else:
                assert request.images is not None
                x = images.decode(request.images[index].data, SHAPE)
            return Row(index, seed, {"x": x})

        items, place = (request.rows, "rows") if request.rows is not None else (request.images, "images")
        if items is None:
            raise InvalidInput("neither rows nor images given: send one of them")
        return prepare_each(request, len(items), make, place)

    def render(self, request: ToyScaleRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [{"row": item.arrays["y"].reshape(-1)} for item in items]


class CountPipeline(Pipeline[ToyCountRequest]):
    operation = COUNT
    session_kind = "count"

    def prepare(self, request: ToyCountRequest, model: Model) -> list[Row | Refusal]:
        def make(index: int, seed: int) -> Row:
            return Row(index, seed, params={"steps": request.steps}, work=request.steps)

        return prepare_each(request, count_of(request), make, "n")

    def render(self, request: ToyCountRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [{"image": item.arrays["x"], "steps": request.steps} for item in items]

    def chunk(self, request: ToyCountRequest, event: Event, state: Fields, model: Model) -> Fields:
        return {"step": event.index + 1, "image": event.arrays["x"]}


class CountSession:
    """Rows of different step counts share each step."""

    capacity = 8
    graphs = ("halve",)

    def __init__(self, halve: Graph) -> None:
        self.halve = halve
        self._rows: dict[RowId, tuple[np.ndarray, int, int]] = {}

    def admit(self, rows: Sequence[tuple[RowId, Row]]) -> None:
        for row_id, row in rows:
            self._rows[row_id] = (rng.normal(row.seed, 0, 0, SHAPE), 0, int(row.params["steps"]))

    def ready(self) -> Sequence[RowId]:
        return list(self._rows)

    def step(self, rows: Sequence[RowId]) -> list[Event]:
        halved = self.halve(x=np.stack([self._rows[row][0] for row in rows]))["y"].numpy()
        events = []
        for (job, index), x in zip(rows, halved, strict=True):
            _, done, steps = self._rows[job, index]
            self._rows[job, index] = (x, done + 1, steps)
            events.append(Event(job, index, done, "step", {"x": x}))
            if done + 1 == steps:
                events.append(Event(job, index, steps, "done", {"x": x}))
                self.drop([(job, index)])
        return events

    def drop(self, rows: Sequence[RowId]) -> None:
        for row in rows:
            self._rows.pop(row, None)

    def close(self) -> None:
        self._rows.clear()


def open_sessions(model: Model, graphs: Mapping[str, Graph]) -> dict[str, Session]:
    def scale(rows: Sequence[Row]) -> list[Arrays]:
        x = np.stack([row.arrays["x"] for row in rows])
        if (x == POISON).any():
            raise ValueError("poison")
        y = graphs["scale"](x=x)["y"].numpy()
        return [{"y": np.where(row == 2 * NOT_FINITE + 1, np.nan, row)} for row in y]

    return {"scale": OneShot(scale, ("scale",)), "count": CountSession(graphs["halve"])}


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
