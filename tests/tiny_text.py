"""A tiny language model with known answers: one layer of attention over random vectors, as two ONNX graphs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper, parser

from model_store.golden import GOLDEN, Golden, pack
from model_store.manifest import GraphSpec, Manifest, Provenance, TensorSpec, TransformerParams
from model_store.store import Model, Store, file_spec
from model_store.tokenizer import TOKENIZER
from service.arrays import Array, Arrays, fingerprint, item_of, join
from service.families.pipeline import Fields, Results
from service.families.session import Session
from service.families.transformer.session import open_sessions
from service.families.transformer.writing import Writing
from service.graph import DeviceArray, Graph
from service.jobs import Block, Events, Failure, Range
from service.runtime import onnx as runtime
from service.settings import Settings
from training.transformer.tokenizer import END_OF_TEXT, train_tokenizer

VOCABULARY, CAPACITY, CHUNK, WIDTH = 300, 32, 4, 8
PARAMS = TransformerParams(
    vocabulary_size=VOCABULARY,
    capacity=CAPACITY,
    chunk=CHUNK,
    layers=1,
    heads=1,
    kv_heads=1,
    head_size=WIDTH,
    end_of_text=END_OF_TEXT,
)
PROSE = ["The people of the union are here. Naïve, café — 😀!\n\n  No 1234 letters\t."] * 3
_random = np.random.default_rng(5)
EMBEDDING = _random.normal(scale=0.6, size=(VOCABULARY, WIDTH)).astype(np.float32)
POSITIONS = _random.normal(scale=0.6, size=(CAPACITY, WIDTH)).astype(np.float32)
UNEMBEDDING = _random.normal(size=(WIDTH, VOCABULARY)).astype(np.float32)
UNEMBEDDING[:, END_OF_TEXT] = 0  # an unlikely end

GRAPH = """
<ir_version: 10, opset_import: ["": 21]>
text (int64[batch, S] input_ids, int64[batch] position, float[batch, 1, 1, CAPACITY, WIDTH] past_key,
      float[batch, 1, 1, CAPACITY, WIDTH] past_value)
  => (float[batch, S, VOCABULARY] logits, float[batch, 1, 1, S, WIDTH] key, float[batch, 1, 1, S, WIDTH] value)
{
  before = Unsqueeze(position, one)
  at = Add(before, new_places)
  tokens = Gather(embedding, input_ids)
  places = Gather(positions, at)
  x = Add(tokens, places)
  past_keys = Squeeze(past_key, one_two)
  past_values = Squeeze(past_value, one_two)
  past_keys_t = Transpose <perm = [0, 2, 1]> (past_keys)
  x_t = Transpose <perm = [0, 2, 1]> (x)
  all_past_scores = MatMul(x, past_keys_t)
  all_new_scores = MatMul(x, x_t)
  seen = Less(past_places, before)
  seen_by_all = Unsqueeze(seen, one)
  past_scores = Where(seen_by_all, all_past_scores, never)
  new_scores = Where(causal, all_new_scores, never)
  scores = Concat <axis = 2> (past_scores, new_scores)
  weights = Softmax <axis = 2> (scores)
  past_weights, new_weights = Split <axis = 2> (weights, sizes)
  past_mixed = MatMul(past_weights, past_values)
  new_mixed = MatMul(new_weights, x)
  mixed = Add(past_mixed, new_mixed)
  y = Add(x, mixed)
  logits = MatMul(y, unembedding)
  key = Unsqueeze(x, one_two)
  value = Unsqueeze(x, one_two)
}
"""


def graph_of(tokens: int) -> bytes:
    """ONNX bytes of the graph for `tokens` new tokens."""
    text = GRAPH.replace("S]", f"{tokens}]").replace("S,", f"{tokens},")
    for name, size in {"CAPACITY": CAPACITY, "WIDTH": WIDTH, "VOCABULARY": VOCABULARY}.items():
        text = text.replace(name, str(size))
    constants = {
        "embedding": EMBEDDING,
        "positions": POSITIONS,
        "unembedding": UNEMBEDDING,
        "new_places": np.arange(tokens),
        "past_places": np.arange(CAPACITY),
        "causal": np.tri(tokens, dtype=bool)[None],
        "never": np.float32(-np.inf).reshape(()),
        "sizes": np.array([CAPACITY, tokens]),
        "one": np.array([1]),
        "one_two": np.array([1, 2]),
    }
    model = parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    onnx.checker.check_model(model)
    return model.SerializeToString()


def reference(ids: Sequence[int]) -> Array:
    """Logits [S, V] of a whole text in float64, without a cache."""
    x = EMBEDDING[ids].astype(float) + POSITIONS[: len(ids)]
    scores = np.where(np.tri(len(ids), dtype=bool), x @ x.T, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return (x + weights / weights.sum(1, keepdims=True) @ x) @ UNEMBEDDING


def publish_text(store: Store) -> Model:
    """The model in a store, with its tokenizer and the goldens of its graphs."""
    sizes = {"prefill": CHUNK, "decode": 1}
    goldens = {name: _golden(tokens) for name, tokens in sizes.items()}
    files = {f"{name}.onnx": graph_of(tokens) for name, tokens in sizes.items()}
    files |= {GOLDEN: pack(goldens), TOKENIZER: train_tokenizer(PROSE, VOCABULARY)}
    provenance = Provenance(
        commit="none",
        command="none",
        seed=0,
        data={},
        trained_at="never",
        training_seconds=0,
        machine="any",
        licence="Apache-2.0",
    )
    manifest = Manifest(
        name="tiny-text",
        version="1",
        graphs={name: _spec(f"{name}.onnx", files, goldens[name]) for name in sizes},
        params=PARAMS,
        files={name: file_spec(files[name]) for name in (GOLDEN, TOKENIZER)},
        provenance=provenance,
    )
    return store.publish(manifest, files)


class Recorded:
    """A graph that notes the batch and the tokens of its calls, and fails where it is told to."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self.spec, self.device = graph, graph.spec, graph.device
        self.calls: list[tuple[int, int]] = []
        self.poison: int | None = None

    def __call__(self, **inputs: Array | DeviceArray) -> Mapping[str, DeviceArray]:
        self.calls.append(inputs["input_ids"].shape)
        if self.poison is not None and (inputs["input_ids"] == self.poison).any():
            raise ValueError("poison")
        return self._graph(**inputs)


def load(model: Model) -> dict[str, Recorded]:
    """Its graphs, on one engine thread."""
    settings = Settings(intra_op_threads=1)
    specs = model.manifest.graphs
    return {name: Recorded(runtime.load_graph(model.graph(name), spec, settings)) for name, spec in specs.items()}


class ItemEvent(NamedTuple):
    """One event of one row of a job."""

    job_id: str
    row: int
    step: int
    kind: str
    arrays: Arrays
    failure: Failure | None

    @property
    def bits(self) -> tuple[str, str]:
        return f"{self.kind} {self.step}", fingerprint({name: array[None] for name, array in self.arrays.items()}, 1)


class Texts:
    """The text session with what a worker knows of it: the rows that are resident, and what they answered.

    `stepped` counts the rows that steps advanced. Jobs are blocks whose rows are 0, ..., k - 1.
    """

    def __init__(self, model: Model, graphs: Mapping[str, Graph] | None = None, **settings: Any) -> None:
        self.session = open_text(model, graphs or load(model), **settings)
        self.resident: dict[str, list[int]] = {}
        self.events: list[Events] = []
        self.stepped = 0

    def admit(self, job_id: str, block: Block) -> None:
        self.session.admit(Range(job_id, 0, len(block)), block)
        self.resident[job_id] = list(range(len(block)))

    def ready(self) -> list[Range]:
        """What the session says of all resident rows, named one by one."""
        rows = [Range(job_id, row, row + 1) for job_id, rows in self.resident.items() for row in rows]
        return list(self.session.ready(rows))

    def step(self, rows: Sequence[Range] | None = None) -> list[ItemEvent]:
        """Advance these rows, or all that are ready; those that end leave."""
        stepping = self.ready() if rows is None else rows
        events = list(self.session.step(stepping))
        self.stepped += sum(one.rows for one in stepping)
        self.events += events
        for one in events:
            if one.terminal:
                self._leave(one.job_id, one.rows.tolist())
        return items_of(events)

    def drop(self, job_id: str, row: int) -> None:
        self.session.drop([Range(job_id, row, row + 1)])
        self._leave(job_id, [row])

    def finish(self) -> dict[tuple[str, int], list[ItemEvent]]:
        """Every row's events, from the first, once all have ended."""
        while self.resident:
            self.step()
        traces: dict[tuple[str, int], list[ItemEvent]] = {}
        for event in items_of(self.events):
            traces.setdefault((event.job_id, event.row), []).append(event)
        return traces

    def _leave(self, job_id: str, rows: Sequence[int]) -> None:
        self.resident[job_id] = [row for row in self.resident[job_id] if row not in rows]
        if not self.resident[job_id]:
            del self.resident[job_id]


def open_text(model: Model, graphs: Mapping[str, Graph], **settings: Any) -> Session:
    return open_sessions(model, graphs, Settings(intra_op_threads=1, **settings))[Writing]


def items_of(events: Sequence[Events]) -> list[ItemEvent]:
    return [
        ItemEvent(one.job_id, row, step, one.kind, item_of(one.columns, index), one.failure)
        for one in events
        for index, (row, step) in enumerate(zip(one.rows.tolist(), one.steps.tolist(), strict=True))
    ]


def answer(model: Model, pipeline: Any, request: Any) -> list[Fields]:
    """What the pipeline answers, with all rows in one session."""
    texts = Texts(model)
    texts.admit("job", pipeline.prepare(request, model).block)
    texts.finish()
    return rendered(pipeline, request, [one for one in texts.events if one.kind == "done"], model)


def rendered(pipeline: Any, request: Any, ends: Sequence[Events], model: Model) -> list[Fields]:
    """The items' fields, in the order of their rows."""
    rows = np.concatenate([one.rows for one in ends])
    fields = pipeline.render(request, Results(rows, join([one.columns for one in ends])), model)
    return [{name: fields[name][place] for name in fields} for place in np.argsort(rows).tolist()]


def _golden(tokens: int) -> Golden:
    ids = np.arange(3 * tokens).reshape(3, tokens)
    nothing = np.zeros((3, 1, 1, CAPACITY, WIDTH), np.float32)
    inputs = {"input_ids": ids, "position": np.zeros(3, np.int64), "past_key": nothing, "past_value": nothing}
    x = (EMBEDDING[ids] + POSITIONS[:tokens])[:, None, None]
    logits = np.stack([reference(row) for row in ids]).astype(np.float32)
    return Golden(inputs, {"logits": logits, "key": x, "value": x})


def _spec(file: str, files: Mapping[str, bytes], golden: Golden) -> GraphSpec:
    def tensors(arrays: Mapping[str, Array]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(name=name, dtype=str(array.dtype), shape=("batch", *array.shape[1:]))
            for name, array in arrays.items()
        )

    return GraphSpec(
        file=file,
        **file_spec(files[file]).model_dump(),
        format="onnx",
        inputs=tensors(golden.inputs),
        outputs=tensors(golden.outputs),
        golden_atol=1e-4,
    )
