"""The text session: chunks and tokens, slots; rows join, leave and fail without a bit of change for the others."""

from collections.abc import Sequence

import numpy as np
import pytest
import tiny_text
from exactness import Case, assert_exact

from fivefold.operation import SeededRequest
from fivefold.transformer import TransformerGenerateRequest, TransformerScoreRequest
from model_store.store import Model
from service.arrays import fingerprint
from service.families.transformer import FAMILY
from service.families.transformer.session import TextSession
from service.families.transformer.slots import Slots
from service.jobs import Event, Row, RowId
from service.runtime.onnx import HostArray
from service.worker.isolation import apart

GENERATE, SCORE, *_ = FAMILY.pipelines
CHUNK = tiny_text.CHUNK
POISON = 299
Trace = list[tuple[str, str]]


def opened(model: Model) -> tuple[TextSession, dict[str, tiny_text.Recorded]]:
    graphs = tiny_text.load(model)
    return FAMILY.open_sessions(model, graphs)["text"], graphs


def text(model: Model, prompt: Sequence[int], max_tokens: int = 6, **asked: object) -> Row:
    fields = {"prompt_tokens": list(prompt), "max_tokens": max_tokens, "seed": 1, "temperature": 1.5, **asked}
    return GENERATE.prepare(TransformerGenerateRequest.model_validate(fields), model)[0]


def ids(count: int, first: int = 1) -> list[int]:
    return list(range(first, first + count))


def bits(events: Sequence[Event]) -> Trace:
    return [(f"{event.kind} {event.index}", fingerprint([event.arrays])) for event in events]


def finish(session: TextSession, before: Sequence[Event] = ()) -> dict[RowId, Trace]:
    """Every row's events, all rows in every step, after those of `before`."""
    events = list(before)
    while ready := session.ready():
        events += session.step(ready)
    return {row: bits([event for event in events if event.row_id == row]) for row in {e.row_id for e in events}}


def alone(model: Model, row: Row) -> Trace:
    session, _ = opened(model)
    session.admit([(("alone", 0), row)])
    return finish(session)["alone", 0]


REQUESTS: list[SeededRequest] = [
    TransformerGenerateRequest(prompt_tokens=ids(3), max_tokens=9, seed=1),
    TransformerGenerateRequest(prompt_tokens=ids(13, 40), max_tokens=4, seed=2, temperature=0),
    TransformerGenerateRequest(prompt_tokens=ids(1), max_tokens=20, seed=3, temperature=1.7, top_k=20, logprobs=3),
    TransformerGenerateRequest(prompt="naïve", max_tokens=12, seed=4, top_p=0.9, stop=["e", "an"], stop_tokens=[7]),
    TransformerScoreRequest(prompt="The", texts=["people of the union"]),
    TransformerScoreRequest(tokens=[ids(31)]),
]


def test_rows_of_all_lengths_answer_alike_whatever_shares_their_batch_and_whenever_they_join(text_model: Model) -> None:
    cases = [Case(GENERATE if isinstance(one, TransformerGenerateRequest) else SCORE, one) for one in REQUESTS]
    assert assert_exact(FAMILY, text_model, [tiny_text.load(text_model)], cases) == 11 * len(cases)


def test_a_new_prompt_stalls_the_others_for_one_chunk_a_step_at_most(text_model: Model) -> None:
    session, graphs = opened(text_model)
    session.admit([(("early", index), text(text_model, ids(3), 12)) for index in range(2)])
    session.step(session.ready())
    session.step(session.ready())
    session.admit([(("late", 0), text(text_model, ids(5 * CHUNK), 2)), (("late", 1), text(text_model, ids(7), 2))])
    for _ in range(5):
        events = session.step(session.ready())
        assert {event.row_id for event in events} >= {("early", 0), ("early", 1)}
    assert graphs["prefill"].calls == [(1, CHUNK)] * 7
    assert graphs["decode"].calls == [(1, 1), *[(2, 1)] * 5]
    assert [event.row_id for event in events].count(("late", 0)) == 1


def test_prompts_are_read_in_the_order_they_came_however_they_are_named(text_model: Model) -> None:
    session, _ = opened(text_model)
    session.admit([(("job", index), text(text_model, ids(6), 9)) for index in range(3)])
    first = [event.row for _ in range(6) for event in session.step(session.ready()[::-1]) if event.index == 0]
    assert first == [0, 1, 2]


def test_chunks_and_tokens_never_share_a_call_and_work_counts_the_calls(text_model: Model) -> None:
    rows = [text(text_model, ids(length), 5) for length in (1, 4, 5, 16, 27)]
    for row in rows:
        session, graphs = opened(text_model)
        session.admit([(("job", 0), row)])
        finish(session)
        assert len(graphs["prefill"].calls) + len(graphs["decode"].calls) == row.work
    session, graphs = opened(text_model)
    session.admit([(("job", index), row) for index, row in enumerate(rows)])
    finish(session)
    assert set(graphs["prefill"].calls) == {(1, CHUNK)}
    assert {tokens for _, tokens in graphs["decode"].calls} == {1}


def test_rows_leave_with_their_last_token_and_every_token_is_an_event(text_model: Model) -> None:
    session, graphs = opened(text_model)
    lengths = (1, 2, 5, 9)
    session.admit([(("job", index), text(text_model, ids(2), length)) for index, length in enumerate(lengths)])
    for row, trace in finish(session).items():
        count = lengths[row[1]]
        assert [name for name, _ in trace] == [*(f"step {place}" for place in range(count)), f"done {count}"]
    batches = [batch for batch, _ in graphs["decode"].calls]
    assert (max(batches), batches[-1], sum(batches)) == (2, 1, sum(length - 1 for length in lengths))


def test_the_scheduler_may_name_any_rows_in_any_order(text_model: Model) -> None:
    rows = {("job", index): text(text_model, ids(1 + 3 * index), 4 + index, seed=index) for index in range(6)}
    session, _ = opened(text_model)
    session.admit(list(rows.items()))
    random, events = np.random.default_rng(0), list[Event]()
    while ready := session.ready():
        chosen = random.permutation(len(ready))[: random.integers(1, len(ready) + 1)]
        events += session.step([ready[index] for index in chosen])
    for row_id, row in rows.items():
        assert bits([event for event in events if event.row_id == row_id]) == alone(text_model, row)


def test_dropped_rows_free_their_places_and_change_nothing_for_the_others(text_model: Model) -> None:
    rows = {("job", index): text(text_model, ids(4 + index), 8, seed=index) for index in range(5)}
    session, _ = opened(text_model)
    session.admit(list(rows.items()))
    events = [event for _ in range(7) for event in session.step(session.ready())]
    session.drop([("job", 0), ("job", 3), ("stranger", 0)])
    newcomer = text(text_model, ids(9, 70), 5)
    session.admit([(("new", 0), newcomer)])
    traces = finish(session, events)
    for index in (1, 2, 4):
        assert traces["job", index] == alone(text_model, rows["job", index])
    assert traces["new", 0] == alone(text_model, newcomer)
    assert not session.ready()


def test_all_places_can_be_taken(text_model: Model) -> None:
    session, graphs = opened(text_model)
    row = text(text_model, ids(2), 60 // 2)
    session.admit([(("job", index), row) for index in range(session.capacity)])
    traces = finish(session)
    assert len(traces) == session.capacity == 32
    assert {tuple(trace) for trace in traces.values()} == {tuple(alone(text_model, row))}
    assert max(graphs["decode"].calls)[0] > 20


def test_a_row_that_raises_fails_alone_and_nobody_else_loses_or_repeats_a_token(text_model: Model) -> None:
    rows = {("job", index): text(text_model, ids(3, 10 * index + 1), 5, seed=index) for index in range(5)}
    session, graphs = opened(text_model)
    graphs["prefill"].poison = POISON
    session.admit([*rows.items(), (("bad", 0), text(text_model, [POISON]))])
    events = list[Event]()
    while ready := session.ready():
        failed = apart(session.step, ready, lambda row: row)
        session.drop([event.row_id for event in failed if event.kind == "failed"])
        events += failed
    for row_id, row in rows.items():
        assert bits([event for event in events if event.row_id == row_id]) == alone(text_model, row)
    (bad,) = (event for event in events if event.row_id == ("bad", 0))
    assert bad.kind == "failed"


def test_a_step_that_raises_has_moved_no_row(text_model: Model) -> None:
    early, late = text(text_model, ids(3), 6), text(text_model, ids(9), 3)
    session, graphs = opened(text_model)
    session.admit([(("early", 0), early)])
    events = session.step(session.ready())
    session.admit([(("late", 0), late)])
    graphs["decode"].poison = int(events[0].arrays["token"])
    with pytest.raises(ValueError, match="poison"):
        session.step(session.ready())
    assert graphs["prefill"].calls == [(1, CHUNK)] * 2
    graphs["decode"].poison = None
    traces = finish(session, events)
    assert traces == {("early", 0): alone(text_model, early), ("late", 0): alone(text_model, late)}


def test_a_row_that_is_not_finite_fails_alone_and_leaves_nothing_in_its_slot(text_model: Model) -> None:
    model_graphs = tiny_text.load(text_model)

    class Broken(tiny_text.Recorded):
        def __call__(self, **inputs):
            outputs = {name: output.numpy().copy() for name, output in super().__call__(**inputs).items()}
            bad = (inputs["input_ids"] == POISON).any(axis=1)
            for array in outputs.values():
                array[bad] = np.nan
            return {name: HostArray(array) for name, array in outputs.items()}

    graphs = {name: Broken(graph) for name, graph in model_graphs.items()}
    session = FAMILY.open_sessions(text_model, graphs)["text"]
    good = text(text_model, ids(3), 6)
    session.admit([(("bad", 0), text(text_model, [POISON])), (("good", 0), good)])
    events = session.step(session.ready())
    assert [(event.kind, event.error.code) for event in events] == [("failed", "row_not_finite")]
    assert finish(session)["good", 0] == alone(text_model, good)


# Slots


def test_slots_without_holes_are_read_without_a_copy() -> None:
    slots = Slots(tiny_text.PARAMS)
    rows = [("job", index) for index in range(4)]
    for row in rows:
        slots.write(row, 0, 1, {side: np.full((1, 1, 1, tiny_text.WIDTH), row[1]) for side in ("key", "value")})
    whole = slots.past(rows)["past_key"]
    assert whole.shape == (4, 1, 1, tiny_text.CAPACITY, tiny_text.WIDTH)
    assert np.shares_memory(whole, slots.past(rows[1:3])["past_key"])
    assert np.shares_memory(whole, slots.past([rows[3]])["past_key"])
    copied = slots.past([rows[0], rows[2]])["past_key"]
    assert not np.shares_memory(whole, copied)
    assert copied[:, 0, 0, 0, 0].tolist() == [0, 2]


def test_the_last_slot_moves_into_the_hole() -> None:
    slots = Slots(tiny_text.PARAMS)
    for index in range(4):
        new = {side: np.full((1, 1, 1, tiny_text.WIDTH), index) for side in ("key", "value")}
        slots.write(("job", index), 5, 1, new)
    slots.release(("job", 1))
    slots.release(("stranger", 0))
    order = [("job", 0), ("job", 3), ("job", 2)]
    assert [slots.slot(row) for row in order] == [0, 1, 2]
    assert slots.past(order)["past_value"][:, 0, 0, 5, 0].tolist() == [0, 3, 2]


def test_a_large_model_has_fewer_slots_and_one_at_least() -> None:
    large = tiny_text.PARAMS.model_copy(update={"layers": 30, "kv_heads": 3, "head_size": 64, "capacity": 2048})
    assert Slots(large).count == 2
