"""The text session: chunks and tokens, slots; rows join, leave and fail without a bit of change for the others."""

from collections.abc import Sequence

import numpy as np
import pytest
import tiny_text
from tiny_text import ItemEvent, Texts

from fivefold.transformer import TransformerGenerateRequest, TransformerScoreRequest
from model_store.store import Model
from service.families.transformer import FAMILY
from service.families.transformer.slots import Slots
from service.jobs import Block, Range
from service.runtime.onnx import HostArray

GENERATE, SCORE, *_ = FAMILY.pipelines
CHUNK = tiny_text.CHUNK
POISON = 299
SLOT_BYTES = 2 * 4 * tiny_text.CAPACITY * tiny_text.WIDTH
Trace = list[tuple[str, str]]


def opened(model: Model) -> tuple[Texts, dict[str, tiny_text.Recorded]]:
    graphs = tiny_text.load(model)
    return Texts(model, graphs), graphs


def text(model: Model, prompt: Sequence[int], max_tokens: int = 6, **asked: object) -> Block:
    """The block of one text, or of `n`."""
    fields = {"prompt_tokens": list(prompt), "max_tokens": max_tokens, "seed": 1, "temperature": 1.5, **asked}
    return GENERATE.prepare(TransformerGenerateRequest.model_validate(fields), model).block


def ids(count: int, first: int = 1) -> list[int]:
    return list(range(first, first + count))


def bits(events: Sequence[ItemEvent]) -> Trace:
    return [event.bits for event in events]


def alone(model: Model, block: Block, row: int = 0) -> Trace:
    """The bits of a row that has the session for itself."""
    texts, _ = opened(model)
    texts.session.admit(Range("alone", row, row + 1), block)
    texts.resident["alone"] = [row]
    return bits(texts.finish()["alone", row])


# What is ready, and what is charged


def test_only_rows_that_advanced_are_charged(text_model: Model) -> None:
    # A prompt of two chunks, as 43 tokens are for transformer-english: 16 x (2 + 15) evaluations, not 512.
    texts, graphs = opened(text_model)
    block = text(text_model, ids(2 * CHUNK - 1), 16, n=16, temperature=0)
    texts.admit("job", block)
    texts.finish()
    assert texts.stepped == block.work.sum() == 272
    assert sum(batch for graph in graphs.values() for batch, _ in graph.calls) == 272


def test_every_writing_row_is_ready_and_of_the_reading_ones_the_first(text_model: Model) -> None:
    texts, _ = opened(text_model)
    texts.admit("early", text(text_model, ids(3), 20, n=2))
    assert texts.ready() == [Range("early", 0, 1)]
    texts.step()
    assert texts.ready() == [Range("early", 0, 1), Range("early", 1, 2)]
    texts.step()
    texts.admit("late", text(text_model, ids(2 * CHUNK), 2, n=3))
    whole = [Range("late", 0, 3), Range("early", 0, 2)]
    assert texts.session.ready(whole) == [Range("late", 0, 1), Range("early", 0, 2)]
    assert texts.session.ready([Range("late", 1, 3)]) == [Range("late", 1, 2)]
    texts.drop("early", 0)
    texts.drop("late", 0)
    assert texts.session.ready([Range("late", 1, 3), Range("early", 1, 2)]) == [
        Range("late", 1, 2),
        Range("early", 1, 2),
    ]


def test_rows_of_one_job_that_write_are_one_range_and_one_batch_of_events(text_model: Model) -> None:
    texts, _ = opened(text_model)
    texts.admit("job", text(text_model, ids(3), 12, n=4, temperature=0))
    for _ in range(5):
        texts.step()
    whole = [Range("job", 0, 4)]
    assert texts.session.ready(whole) == whole
    (events,) = texts.session.step(whole)
    assert (events.kind, events.rows.tolist(), events.steps.tolist()) == ("step", [0, 1, 2, 3], [5, 4, 3, 2])
    assert (events.columns["token"].shape, events.columns["token"].dtype) == ((4,), np.int64)
    assert (events.columns["log_prob"].shape, events.columns["log_prob"].dtype) == ((4,), np.float64)


def test_rows_that_end_in_a_step_tell_their_reason_apart_from_those_that_go_on(text_model: Model) -> None:
    texts, _ = opened(text_model)
    texts.admit("job", text(text_model, ids(3), 3, n=3, logprobs=2, temperature=0))
    for _ in range(2):
        texts.step()
    ending, done, going = texts.session.step(texts.ready())
    assert [(one.kind, one.rows.tolist(), "finish" in one.columns) for one in (ending, done, going)] == [
        ("step", [0], True),
        ("done", [0], True),
        ("step", [1, 2], False),
    ]
    item = tiny_text.items_of([done])[0].arrays
    assert {name: (array.dtype.str, array.shape) for name, array in item.items()} == {
        "tokens": ("<i8", (3,)),
        "prompt_tokens": ("<i8", ()),
        "log_prob": ("<f8", (3,)),
        "best_tokens": ("<i8", (3, 2)),
        "best_log_probs": ("<f8", (3, 2)),
        "finish": ("<i8", ()),
    }


def test_a_new_prompt_stalls_the_others_for_one_chunk_a_step_at_most(text_model: Model) -> None:
    texts, graphs = opened(text_model)
    texts.admit("early", text(text_model, ids(3), 12, n=2))
    texts.step()
    texts.step()
    texts.admit("late", text(text_model, ids(5 * CHUNK), 2))
    texts.admit("later", text(text_model, ids(7), 2))
    for _ in range(5):
        events = texts.step()
        assert {(event.job_id, event.row) for event in events} >= {("early", 0), ("early", 1)}
    assert graphs["prefill"].calls == [(1, CHUNK)] * 7
    assert graphs["decode"].calls == [(1, 1), *[(2, 1)] * 5]
    assert [event.job_id for event in events].count("late") == 1


def test_prompts_are_read_in_the_order_they_came_however_they_are_named(text_model: Model) -> None:
    texts, _ = opened(text_model)
    for job_id in "cab":
        texts.admit(job_id, text(text_model, ids(6), 9))
    first = [event.job_id for _ in range(6) for event in texts.step(texts.ready()[::-1]) if event.step == 0]
    assert first == ["c", "a", "b"]


def test_chunks_and_tokens_never_share_a_call_and_work_counts_the_calls(text_model: Model) -> None:
    blocks = [text(text_model, ids(length), 5) for length in (1, 4, 5, 16, 27)]
    for block in blocks:
        texts, graphs = opened(text_model)
        texts.admit("job", block)
        texts.finish()
        assert len(graphs["prefill"].calls) + len(graphs["decode"].calls) == block.work.sum()
    texts, graphs = opened(text_model)
    for index, block in enumerate(blocks):
        texts.admit(str(index), block)
    texts.finish()
    assert set(graphs["prefill"].calls) == {(1, CHUNK)}
    assert {tokens for _, tokens in graphs["decode"].calls} == {1}


# Who shares a step changes no bit


def test_rows_leave_with_their_last_token_and_every_token_is_an_event(text_model: Model) -> None:
    texts, graphs = opened(text_model)
    lengths = (1, 2, 5, 9)
    for index, length in enumerate(lengths):
        texts.admit(str(index), text(text_model, ids(2), length))
    for (job_id, _), trace in texts.finish().items():
        count = lengths[int(job_id)]
        assert [name for name, _ in bits(trace)] == [*(f"step {place}" for place in range(count)), f"done {count}"]
    batches = [batch for batch, _ in graphs["decode"].calls]
    assert (max(batches), batches[-1], sum(batches)) == (2, 1, sum(length - 1 for length in lengths))


SETTINGS = [
    {"temperature": 0},
    {"temperature": 0.3, "top_k": 5, "logprobs": 3},
    {"temperature": 1, "top_p": 0.9, "stop": ["e", "an"]},
    {"temperature": 1.7, "top_k": 50, "top_p": 0.5, "logprobs": 7, "stop_tokens": [7, 9]},
    {"temperature": 1},
]


def test_rows_of_different_settings_and_forced_ones_share_a_step_without_a_bit_of_change(text_model: Model) -> None:
    blocks = {
        str(place): text(text_model, ids(1 + 3 * place), 9, n=2, seed=place, **asked)
        for place, asked in enumerate(SETTINGS)
    }
    scored = TransformerScoreRequest(prompt="The", texts=["people of", "the union"])
    blocks["scored"] = SCORE.prepare(scored, text_model).block
    texts, _ = opened(text_model)
    for job_id, block in blocks.items():
        texts.admit(job_id, block)
    for (job_id, row), trace in texts.finish().items():
        assert bits(trace) == alone(text_model, blocks[job_id], row)


def test_the_scheduler_may_name_any_ready_rows_in_any_order(text_model: Model) -> None:
    blocks = {str(index): text(text_model, ids(1 + 3 * index), 4 + index, seed=index) for index in range(6)}
    texts, _ = opened(text_model)
    for job_id, block in blocks.items():
        texts.admit(job_id, block)
    random = np.random.default_rng(0)
    while texts.resident:
        ready = texts.ready()
        chosen = random.permutation(len(ready))[: random.integers(1, len(ready) + 1)]
        texts.step([ready[index] for index in chosen])
    for (job_id, _), trace in texts.finish().items():
        assert bits(trace) == alone(text_model, blocks[job_id])


def test_dropped_rows_free_their_places_and_change_nothing_for_the_others(text_model: Model) -> None:
    block = text(text_model, ids(5), 8, n=5)
    texts, _ = opened(text_model)
    texts.admit("job", block)
    for _ in range(9):
        texts.step()
    texts.drop("job", 0)
    texts.drop("job", 3)
    newcomer = text(text_model, ids(9, 70), 5)
    texts.admit("new", newcomer)
    traces = texts.finish()
    for row in (1, 2, 4):
        assert bits(traces["job", row]) == alone(text_model, block, row)
    assert bits(traces["new", 0]) == alone(text_model, newcomer)
    assert not texts.session.ready([])


# What a session may hold


def test_all_places_can_be_taken(text_model: Model) -> None:
    graphs, block = tiny_text.load(text_model), text(text_model, ids(2), 30, seeds=[1] * 40)
    texts = Texts(text_model, graphs, session_bytes=40 * SLOT_BYTES)
    assert texts.session.need(block) == SLOT_BYTES
    assert texts.session.capacity == 40 * SLOT_BYTES
    texts.admit("job", block)
    traces = texts.finish()
    assert len(traces) == 40
    assert {tuple(bits(trace)) for trace in traces.values()} == {tuple(alone(text_model, block))}
    assert max(graphs["decode"].calls)[0] > 20


def test_a_session_holds_one_text_however_little_it_may(text_model: Model) -> None:
    texts = Texts(text_model, session_bytes=1)
    assert texts.session.capacity == texts.session.need(text(text_model, ids(1)))


# Faults


def test_a_row_that_raises_fails_alone_and_no_other_loses_or_repeats_a_token(text_model: Model) -> None:
    blocks = {str(index): text(text_model, ids(3, 10 * index + 1), 5, seed=index) for index in range(5)}
    texts, graphs = opened(text_model)
    graphs["prefill"].poison = POISON
    for job_id, block in [*blocks.items(), ("bad", text(text_model, [POISON]))]:
        texts.admit(job_id, block)
    while texts.resident:
        ready = texts.ready()
        try:
            texts.step(ready)
        except ValueError:
            *others, bad = ready
            assert bad == Range("bad", 0, 1)
            if others:
                texts.step(others)
            with pytest.raises(ValueError, match="poison"):
                texts.step([bad])
            texts.drop("bad", 0)
    traces = texts.finish()
    assert {job_id: bits(trace) for (job_id, _), trace in traces.items()} == {
        job_id: alone(text_model, block) for job_id, block in blocks.items()
    }


def test_a_step_that_raises_has_moved_no_row(text_model: Model) -> None:
    early, late = text(text_model, ids(3), 6), text(text_model, ids(9), 3)
    texts, graphs = opened(text_model)
    texts.admit("early", early)
    (first,) = texts.step()
    texts.admit("late", late)
    graphs["decode"].poison = int(first.arrays["token"])
    with pytest.raises(ValueError, match="poison"):
        texts.step()
    assert graphs["prefill"].calls == [(1, CHUNK)] * 2
    graphs["decode"].poison = None
    traces = texts.finish()
    assert bits(traces["early", 0]) == alone(text_model, early)
    assert bits(traces["late", 0]) == alone(text_model, late)


def test_a_row_that_is_not_finite_fails_alone_and_leaves_nothing_in_its_slot(text_model: Model) -> None:
    class Broken(tiny_text.Recorded):
        def __call__(self, **inputs):
            outputs = {name: output.numpy().copy() for name, output in super().__call__(**inputs).items()}
            bad = (inputs["input_ids"] == POISON).any(axis=1)
            for array in outputs.values():
                array[bad] = np.nan
            return {name: HostArray(array) for name, array in outputs.items()}

    texts = Texts(text_model, {name: Broken(graph) for name, graph in tiny_text.load(text_model).items()})
    good = text(text_model, ids(3), 6)
    texts.admit("bad", text(text_model, [POISON]))
    texts.admit("good", good)
    (failed,) = texts.step()
    assert failed.failure is not None
    assert (failed.job_id, failed.kind, failed.failure.code) == ("bad", "failed", "row_not_finite")
    assert bits(texts.finish()["good", 0]) == alone(text_model, good)


def test_a_text_that_cannot_be_read_fails_alone(text_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = {name: text(text_model, ids(3), 4, stop=["never"], temperature=0) for name in "ab"}
    texts, _ = opened(text_model)
    for job_id, block in blocks.items():
        texts.admit(job_id, block)
    wanted = alone(text_model, blocks["b"])
    with monkeypatch.context() as patch:
        patch.setattr("model_store.tokenizer.Tokenizer.token_bytes", _unknown)
        (failed,) = texts.step()
    assert failed.failure is not None
    assert (failed.job_id, failed.failure.code) == ("a", "row_failed")
    assert bits(texts.finish()["b", 0]) == wanted


def _unknown(*_: object) -> bytes:
    raise ValueError("no such token")


# Slots


def test_slots_without_holes_are_read_without_a_copy() -> None:
    slots = Slots(tiny_text.PARAMS, 4 * SLOT_BYTES)
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
    slots = Slots(tiny_text.PARAMS, 4 * SLOT_BYTES)
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
    assert Slots(large, 2**28).count == 2
    assert Slots(large, 1).count == 1
