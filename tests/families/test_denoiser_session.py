"""The denoiser's session: mixed blocks in one step, exactly; previews; failures of one row alone."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tiny
from solving import Ancestral, replay_sample

from fivefold.diffusion import DiffusionEnhanceRequest, DiffusionSampleRequest
from fivefold.images import Image
from service import images, rng
from service.arrays import fingerprint, size_bytes
from service.families.diffusion import FAMILY
from service.families.diffusion.parameters import Denoising
from service.families.diffusion.session import Denoiser
from service.families.diffusion.solvers import SOLVERS
from service.families.diffusion.trajectories import Trajectories
from service.jobs import Block, Events, Range, block_of
from service.settings import Settings

SAMPLE, ENHANCE = FAMILY.pipelines
MODEL = tiny.diffusion_model()
PIXELS = np.random.default_rng(0).uniform(size=(4, 8, 8))
MASK = Image(images.encode_png((np.arange(64).reshape(1, 8, 8) % 3 > 0).astype(np.float32)))
OTHER = Image(images.encode_png((np.arange(64).reshape(1, 8, 8) % 5 > 1).astype(np.float32)))


def session(function=tiny.gaussian_denoiser) -> tuple[Denoiser, tiny.NumpyGraph]:
    graph = tiny.NumpyGraph(function)
    return FAMILY.open_sessions(MODEL, {"denoise": graph}, Settings())[Denoising], graph


def sample_block(**request) -> Block:
    return SAMPLE.prepare(DiffusionSampleRequest.model_validate(request), MODEL).block


def enhance_block(size: int = 64, count: int = 1, **request) -> Block:
    pixels = {"rows": PIXELS.reshape(4, 64)[:count, :size].tolist()}
    return ENHANCE.prepare(DiffusionEnhanceRequest.model_validate(pixels | request), MODEL).block


def mixed_blocks() -> list[Block]:
    """Solvers x step counts x guidance, and every task; of one row and of several."""
    sampled = [
        sample_block(n=steps, solver=solver, steps=steps, guidance=guidance, seed=steps, **{"class": "high"})
        for solver, steps, guidance in itertools.product(("heun", "dpmpp_2m", "ddim"), (1, 5), (1, 2.5))
    ]
    enhanced = [
        enhance_block(task="denoise", sigma=0.1),
        enhance_block(task="denoise", count=4, mode="sample", solver="heun", steps=4),
        enhance_block(task="denoise", count=3, mode="sample", steps=5, guidance=2, **{"class": "low"}),
        enhance_block(16, 3, task="super_resolve", steps=3, seed=4),
        enhance_block(4, 2, task="super_resolve", factor=4, solver="ddim", steps=6, num_samples=2),
        enhance_block(task="inpaint", count=2, masks=[MASK], steps=7, guidance=3, **{"class": "low"}),
        enhance_block(task="inpaint", count=2, masks=[MASK, OTHER], steps=3, solver="heun", num_samples=3),
    ]
    return [*sampled, *enhanced]


def bits(events: list[tiny.ItemEvent]) -> list[tuple[str, str]]:
    arrays = [{name: array[None] for name, array in event.arrays.items()} for event in events]
    return [(f"{event.kind} {event.step}", fingerprint(one, 1)) for event, one in zip(events, arrays, strict=True)]


def rows_of(blocks: list[Block]) -> list[Block]:
    return [block[row : row + 1] for block in blocks for row in range(len(block))]


def test_rows_of_all_kinds_in_one_session_answer_as_they_do_alone() -> None:
    blocks = mixed_blocks()
    together = tiny.run(session()[0], *blocks)
    for row, events in zip(rows_of(blocks), together, strict=True):
        assert bits(events) == bits(tiny.run(session()[0], row)[0])


def test_rows_that_take_turns_answer_as_they_do_together() -> None:
    for block in mixed_blocks():
        denoiser, _ = session()
        denoiser.admit(Range("job", 0, len(block)), block)
        turn, live, events = 0, set(range(len(block))), [[] for _ in block.rows]
        while live:
            turn += 1
            for one in denoiser.step([Range("job", row, row + 1) for row in sorted(live) if (row + turn) % 2]):
                (row,) = one.rows.tolist()
                events[row].append((f"{one.kind} {one.steps[0]}", fingerprint(one.columns, 1)))
                live -= {row} if one.terminal else set()
        assert events == [bits(one) for one in tiny.run(session()[0], block)]


def test_rows_of_all_kinds_share_one_call_per_step() -> None:
    blocks = mixed_blocks()
    denoiser, graph = session()
    tiny.run(denoiser, *blocks)
    assert len(graph.batches) == max(block.work.max() / len(block.parameters.labels) for block in blocks)
    assert sum(graph.batches) == sum(block.work.sum() for block in blocks)


def test_every_step_is_previewed_once_and_the_end_follows() -> None:
    for row, events in zip(rows_of(blocks := mixed_blocks()), tiny.run(session()[0], *blocks), strict=True):
        steps = row.parameters.steps * row.parameters.draws
        assert [event.kind for event in events] == ["step"] * steps + ["done"]
        assert [event.step for event in events] == list(range(steps + 1))
        assert [int(event.arrays["step"]) for event in events[:-1]] == list(range(1, steps + 1))
        for event in events:
            image = event.arrays["image"]
            assert (image.shape, image.dtype) == ((1, 8, 8), np.float32)
            assert image.min() >= 0
            assert image.max() <= 1


def test_guidance_mixes_the_class_with_no_class() -> None:
    def image(**request) -> np.ndarray:
        return tiny.run(session()[0], sample_block(seed=3, steps=1, **request))[0][-1].arrays["image"]

    none, plain = image(), image(**{"class": "high"})
    guided = image(guidance=0.5, **{"class": "high"})
    np.testing.assert_allclose(guided, (none + plain) / 2, atol=1e-6)
    np.testing.assert_allclose(image(guidance=0, **{"class": "high"}), none, atol=1e-7)


def test_the_posterior_mean_is_one_evaluation_at_the_given_noise_level() -> None:
    denoiser, graph = session()
    done = tiny.run(denoiser, enhance_block(task="denoise", sigma=0.1))[0][-1]
    shrink = tiny.SPREAD**2 / (tiny.SPREAD**2 + 0.2**2)
    np.testing.assert_allclose(done.arrays["image"][0], ((2 * PIXELS[0] - 1) * shrink + 1) / 2, atol=1e-6)
    assert graph.batches == [1]


def test_a_stochastic_solver_draws_its_noise_from_the_rows_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOLVERS, "ancestral", Ancestral)
    block = sample_block(n=3, steps=4, solver="ddim", seed=2)
    asked = replace(block, parameters=replace(block.parameters, solver="ancestral"))
    together = tiny.run(session()[0], asked)
    assert [bits(events) for events in together] == [bits(tiny.run(session()[0], row)[0]) for row in rows_of([asked])]
    straight = tiny.run(session()[0], block)
    for noisy, plain in zip(together, straight, strict=True):
        first, last = bits(noisy)[0] == bits(plain)[0], bits(noisy)[-1] == bits(plain)[-1]
        assert (first, last) == (True, False)


def test_a_row_holds_no_more_bytes_than_it_needs() -> None:
    denoiser, _ = session()
    assert denoiser.capacity == Settings().session_bytes
    for block in mixed_blocks():
        part: Trajectories | None = Trajectories.start(block, MODEL.manifest.params)
        while part is not None:
            solver = sum(array.nbytes for array in vars(part.solver).values() if isinstance(array, np.ndarray))
            draws = sum(size_bytes(draw) for draw in part.draws)
            levels = part.solver.schedule.levels.nbytes
            assert solver + draws + levels + size_bytes(block.columns) <= denoiser.need(block) * len(block)
            _, part = part.advance("job", np.zeros_like(part.solver.x))


def finished(denoiser: Denoiser, events: list[Events], rows: Range) -> list[Events]:
    """The events of rows that are stepped to their end."""
    while not any(one.terminal for one in events):
        events += denoiser.step(denoiser.ready([rows]))
    return events


def test_a_graph_that_raises_leaves_every_row_where_it_was() -> None:
    failing = False

    def unreliable(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        if failing:
            raise RuntimeError("out of memory")
        return tiny.gaussian_denoiser(**inputs)

    denoiser, _ = session(unreliable)
    block, rows = sample_block(n=2, steps=4, solver="heun"), Range("job", 0, 2)
    denoiser.admit(rows, block)
    events = [*denoiser.step([rows])]
    failing = True
    with pytest.raises(RuntimeError, match="out of memory"):
        denoiser.step([rows])
    failing = False
    ended = finished(denoiser, events, rows)[-1]
    alone = tiny.run(session()[0], block)
    np.testing.assert_array_equal(ended.columns["image"], [one[-1].arrays["image"] for one in alone])


def test_a_row_that_is_not_finite_fails_alone() -> None:
    def poisoned(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        denoised = tiny.gaussian_denoiser(**inputs)["denoised"]
        return {"denoised": np.where(inputs["label"][:, None, None, None] == 0, np.float32(np.nan), denoised)}

    good = sample_block(steps=3, **{"class": "high"})
    low, high = tiny.run(session(poisoned)[0], sample_block(steps=3, **{"class": "low"}), good)
    assert [event.kind for event in low] == ["failed"]
    assert low[0].failure.code == "row_not_finite"
    assert "step 1 of 3" in low[0].failure.message
    assert bits(high) == bits(tiny.run(session()[0], good)[0])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("places", [[0], [2], [1, 2], [0, 3], [0, 1, 2, 3]])
def test_rows_of_one_block_that_are_not_finite_fail_and_the_others_go_on(solver: str, bad: float, places: list) -> None:
    calls = itertools.count()

    def poisoned(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        denoised = tiny.gaussian_denoiser(**inputs)["denoised"]
        if next(calls) == 1:
            denoised[places, 0, 3, 3] = bad
        return {"denoised": denoised}

    block = enhance_block(16, 4, task="super_resolve", steps=3, solver=solver)
    answered, expected = tiny.run(session(poisoned)[0], block), tiny.run(session()[0], block)
    for row, events in enumerate(answered):
        if row in places:
            assert events[-1].failure.code == "row_not_finite"
            assert events[-1].failure.message.endswith("in step 1 of 3" if solver == "heun" else "in step 2 of 3")
            assert bits(events[:-1]) == bits(expected[row][: len(events) - 1])
        else:
            assert bits(events) == bits(expected[row])


def test_a_block_whose_arithmetic_fails_leaves_every_row_where_it_was() -> None:
    good = enhance_block(task="inpaint", masks=[MASK])
    bad = replace(good, columns={"measurement": good.columns["measurement"][:, :, :4]})
    denoiser, rows = session()[0], Range("good", 0, 1)
    denoiser.admit(rows, good)
    denoiser.admit(Range("bad", 0, 1), bad)
    with pytest.raises(ValueError, match="broadcast"):
        denoiser.step([rows, Range("bad", 0, 1)])
    denoiser.drop([Range("bad", 0, 1)])
    ended = finished(denoiser, [], rows)[-1]
    assert fingerprint(ended.columns, 1) == bits(tiny.run(session()[0], good)[0])[-1][1]


def test_a_block_that_cannot_start_is_not_resident() -> None:
    denoiser, rows = session()[0], Range("job", 0, 1)
    with pytest.raises(KeyError, match="measurement"):
        denoiser.admit(rows, block_of(Denoising(task="denoise"), 1))
    with pytest.raises(KeyError, match="job"):
        denoiser.drop([rows])


def test_rows_that_are_dropped_take_no_further_part() -> None:
    denoiser, graph = session()
    denoiser.admit(Range("job", 0, 3), sample_block(n=3, steps=5))
    denoiser.step([Range("job", 0, 3)])
    denoiser.drop([Range("job", 1, 2)])
    denoiser.step([Range("job", 0, 1), Range("job", 2, 3)])
    assert graph.batches == [3, 2]
    denoiser.close()
    with pytest.raises(KeyError, match="job"):
        denoiser.step([Range("job", 0, 1)])


def test_the_golden_sample_replays_what_single_rows_give() -> None:
    inputs = {
        "noise": rng.normal(np.array([4, 5]), 0, 0, (1, 8, 8)),
        "label": np.array([1, 2]),
        "steps": np.array(6),
    }
    replayed = replay_sample(tiny.NumpyGraph(tiny.gaussian_denoiser), MODEL.manifest.params, inputs)["images"]
    high = sample_block(solver="heun", steps=6, seed=4, **{"class": "high"})
    sampled = tiny.run(session()[0], high, sample_block(solver="heun", steps=6, seed=5))
    np.testing.assert_array_equal((replayed + 1) / 2, [events[-1].arrays["image"] for events in sampled])
