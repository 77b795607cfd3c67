"""The denoiser's session: mixed rows in one step, exactly; previews; failures of one row alone."""

import itertools

import numpy as np
import pytest
import tiny

from fivefold.diffusion import DiffusionEnhanceRequest, DiffusionSampleRequest
from fivefold.images import Image
from service import images
from service.arrays import fingerprint
from service.families.diffusion import FAMILY
from service.families.diffusion.session import Denoiser, replay_sample
from service.jobs import Event, Row

SAMPLE, ENHANCE = FAMILY.pipelines
MODEL = tiny.diffusion_model()
PIXELS = np.random.default_rng(0).uniform(size=(8, 8))
MASK = Image(images.encode_png((np.arange(64).reshape(1, 8, 8) % 3 > 0).astype(np.float32)))


def session(function=tiny.gaussian_denoiser) -> tuple[Denoiser, tiny.NumpyGraph]:
    graph = tiny.NumpyGraph(function)
    return FAMILY.open_sessions(MODEL, {"denoise": graph})["denoiser"], graph


def sample_rows(**request) -> list[Row]:
    return SAMPLE.prepare(DiffusionSampleRequest.model_validate(request), MODEL)


def enhance_rows(size: int = 64, **request) -> list[Row]:
    pixels = {"rows": [PIXELS.ravel()[:size].tolist()]}
    return ENHANCE.prepare(DiffusionEnhanceRequest.model_validate(pixels | request), MODEL)


def mixed_rows() -> list[Row]:
    """Solvers x step counts x guidance, and every task."""
    sampled = [
        sample_rows(solver=solver, steps=steps, guidance=guidance, seed=steps, **{"class": "high"})
        for solver, steps, guidance in itertools.product(("heun", "dpmpp_2m", "ddim"), (1, 5), (1, 2.5))
    ]
    enhanced = [
        enhance_rows(task="denoise", sigma=0.1),
        enhance_rows(task="denoise", mode="sample", solver="heun", steps=4),
        enhance_rows(16, task="super_resolve", steps=3, seed=4),
        enhance_rows(4, task="super_resolve", factor=4, solver="ddim", steps=6),
        enhance_rows(task="inpaint", masks=[MASK], steps=7, guidance=3, **{"class": "low"}),
    ]
    return [row for rows in (*sampled, *enhanced) for row in rows]


def bits(events: list[Event]) -> list[tuple[str, str]]:
    return [(f"{event.kind} {event.index}", fingerprint([event.arrays])) for event in events]


def test_rows_of_all_kinds_in_one_session_answer_as_they_do_alone() -> None:
    rows = mixed_rows()
    together = tiny.run(session()[0], rows)
    for row, events in zip(rows, together, strict=True):
        assert bits(events) == bits(tiny.run(session()[0], [row])[0])


def test_rows_of_all_kinds_share_one_call_per_step() -> None:
    rows = mixed_rows()
    denoiser, graph = session()
    tiny.run(denoiser, rows)
    assert len(graph.batches) == max(row.work / len(row.params["labels"]) for row in rows)
    assert sum(graph.batches) == sum(row.work for row in rows)


def test_every_step_is_previewed_once_and_the_end_follows() -> None:
    for row, events in zip(rows := mixed_rows(), tiny.run(session()[0], rows), strict=True):
        steps = row.params["steps"]
        assert [event.kind for event in events] == ["step"] * steps + ["done"]
        assert [event.index for event in events] == list(range(steps + 1))
        assert [int(event.arrays["step"]) for event in events[:-1]] == list(range(1, steps + 1))
        for event in events:
            image = event.arrays["image"]
            assert (image.shape, image.dtype) == ((1, 8, 8), np.float32)
            assert image.min() >= 0
            assert image.max() <= 1


def test_guidance_mixes_the_class_with_no_class() -> None:
    def image(**request) -> np.ndarray:
        return tiny.run(session()[0], sample_rows(seed=3, steps=1, **request))[0][-1].arrays["image"]

    none, plain = image(), image(**{"class": "high"})
    guided = image(guidance=0.5, **{"class": "high"})
    np.testing.assert_allclose(guided, (none + plain) / 2, atol=1e-6)
    np.testing.assert_allclose(image(guidance=0, **{"class": "high"}), none, atol=1e-7)


def test_the_posterior_mean_is_one_evaluation_at_the_given_noise_level() -> None:
    denoiser, graph = session()
    done = tiny.run(denoiser, enhance_rows(task="denoise", sigma=0.1))[0][-1]
    shrink = tiny.SPREAD**2 / (tiny.SPREAD**2 + 0.2**2)
    np.testing.assert_allclose(done.arrays["image"][0], ((2 * PIXELS - 1) * shrink + 1) / 2, atol=1e-6)
    assert graph.batches == [1]


def test_a_graph_that_raises_leaves_every_row_where_it_was() -> None:
    failing = False

    def unreliable(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        if failing:
            raise RuntimeError("out of memory")
        return tiny.gaussian_denoiser(**inputs)

    denoiser, _ = session(unreliable)
    row = sample_rows(steps=4, solver="heun")[0]
    denoiser.admit([(("job", 0), row)])
    events = denoiser.step(denoiser.ready())
    failing = True
    with pytest.raises(RuntimeError, match="out of memory"):
        denoiser.step(denoiser.ready())
    failing = False
    while ready := denoiser.ready():
        events += denoiser.step(ready)
    assert bits(events) == bits(tiny.run(session()[0], [row])[0])


def test_a_row_that_is_not_finite_fails_alone() -> None:
    def poisoned(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        denoised = tiny.gaussian_denoiser(**inputs)["denoised"]
        return {"denoised": np.where(inputs["label"][:, None, None, None] == 0, np.float32(np.nan), denoised)}

    rows = sample_rows(steps=3, **{"class": "low"}) + sample_rows(steps=3, **{"class": "high"})
    low, high = tiny.run(session(poisoned)[0], rows)
    assert [event.kind for event in low] == ["failed"]
    assert low[0].error.code == "row_not_finite"
    assert "step 1 of 3" in low[0].error.message
    assert bits(high) == bits(tiny.run(session()[0], rows[1:])[0])


def test_a_row_whose_arithmetic_fails_fails_alone() -> None:
    good, bad = enhance_rows(task="inpaint", masks=[MASK]) * 2
    bad = Row(1, 0, {"measurement": bad.arrays["measurement"][:, :4], "mask": bad.arrays["mask"]}, bad.params)
    answered, failed = tiny.run(session()[0], [good, bad])
    assert answered[-1].kind == "done"
    assert [event.kind for event in failed] == ["failed"]
    assert failed[0].error.code == "row_failed"


def test_rows_that_are_dropped_take_no_further_part() -> None:
    denoiser, graph = session()
    denoiser.admit([(("job", place), row) for place, row in enumerate(sample_rows(n=3, steps=5))])
    denoiser.step(denoiser.ready())
    denoiser.drop([("job", 1), ("unknown", 0)])
    assert list(denoiser.ready()) == [("job", 0), ("job", 2)]
    denoiser.step(denoiser.ready())
    assert graph.batches == [3, 2]
    denoiser.close()
    assert not denoiser.ready()


def test_the_golden_sample_replays_what_single_rows_give() -> None:
    from service import rng

    noise = np.stack([rng.normal(seed, 0, 0, (1, 8, 8)) for seed in (4, 5)])
    inputs = {"noise": noise, "label": np.array([1, 2]), "steps": np.array(6)}
    replayed = replay_sample(tiny.NumpyGraph(tiny.gaussian_denoiser), MODEL.manifest.params, inputs)["images"]
    rows = sample_rows(solver="heun", steps=6, seed=4, **{"class": "high"})
    rows += sample_rows(solver="heun", steps=6, seed=5)
    sampled = [events[-1].arrays["image"] for events in tiny.run(session()[0], rows)]
    np.testing.assert_array_equal((replayed + 1) / 2, sampled)
