"""The shipped models through their sessions: what they are for, on real data."""

import numpy as np
import pytest
import shipped
from shipped import answers, loaded
from sklearn.metrics import roc_auc_score
from solving import replay_sample

from fivefold.diffusion import DiffusionEnhanceRequest, DiffusionSampleRequest
from fivefold.flow import FlowDecodeRequest, FlowEncodeRequest, FlowLogLikelihoodRequest, FlowSampleRequest
from model_store import golden
from service import images
from service.families.pipeline import Fields


def pictures(first: int, count: int) -> np.ndarray:
    """[count, 28, 28] in [0, 1]."""
    return np.stack([shipped.fashion(index) for index in range(first, first + count)]) / 255


def psnr_db(images: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(-10 * np.log10(np.mean((images - truth) ** 2, axis=(1, 2)))))


def images_of(items: list[Fields]) -> np.ndarray:
    return np.stack([item["image"][0] for item in items])


def test_shuttle_rows_return_from_their_latents() -> None:
    rows = shipped.shuttle_rows(100)
    encoded = answers("flow-shuttle", "encode", FlowEncodeRequest(rows=rows))
    decoded = answers(
        "flow-shuttle", "decode", FlowDecodeRequest(latents=[item["latents"].tolist() for item in encoded])
    )
    same = np.array([item["row"] for item in decoded]) == np.array(rows)
    assert same.mean() > 0.999


def test_the_likelihood_of_a_shuttle_row_tells_outliers() -> None:
    outlier = np.load(shipped.DATA / "shuttle_500.npz")["outlier"]
    scored = answers("flow-shuttle", "log-likelihood", FlowLogLikelihoodRequest(rows=shipped.shuttle_rows(500)))
    assert roc_auc_score(outlier, [-item["log_prob_nats"] for item in scored]) > 0.95


@pytest.mark.parametrize("name", ["flow-shuttle", "flow-fashion"])
def test_the_parts_of_a_shipped_likelihood_add_up(name: str) -> None:
    rows = shipped.shuttle_rows(20) if name == "flow-shuttle" else pictures(0, 5).reshape(5, 784).tolist()
    for item in answers(name, "log-likelihood", FlowLogLikelihoodRequest(rows=rows, include_terms=True)):
        total = item["log_prob_nats"]
        assert item["base_log_prob_nats"] + sum(item["log_dets_nats"].values()) == pytest.approx(
            total, rel=1e-4, abs=1e-3
        )
        assert float(np.sum(item["terms_nats"], dtype=float)) == pytest.approx(total, rel=1e-4, abs=1e-3)


def test_images_return_from_their_latents_to_the_level() -> None:
    rows = pictures(0, 5).reshape(5, 784)
    encoded = answers("flow-fashion", "encode", FlowEncodeRequest(rows=rows.tolist()))
    decoded = answers(
        "flow-fashion", "decode", FlowDecodeRequest(latents=[item["latents"].tolist() for item in encoded])
    )
    levels = np.rint(images_of(decoded).reshape(5, 784) * 255) - np.rint(rows * 255)
    assert np.abs(levels).max() <= 1
    assert (levels == 0).mean() > 0.99


def test_clothes_are_likelier_than_noise_and_samples_are_likely() -> None:
    def bits_per_dim(rows: np.ndarray) -> float:
        request = FlowLogLikelihoodRequest(rows=rows.reshape(len(rows), 784).tolist())
        return float(np.mean([item["bits_per_dim"] for item in answers("flow-fashion", "log-likelihood", request)]))

    sampled = images_of(answers("flow-fashion", "sample", FlowSampleRequest(model="flow-fashion", n=8, seed=1)))
    clothes = bits_per_dim(pictures(0, 8))
    assert 2.5 < clothes < 4.2
    assert bits_per_dim(sampled) < clothes + 1
    assert bits_per_dim(np.random.default_rng(0).uniform(size=(4, 28, 28))) > 8


def test_the_golden_sample_of_the_trainer_is_replayed() -> None:
    model, graphs = loaded("diffusion-fashion")
    case, spec = golden.unpack(model, "sample"), model.manifest.graphs["denoise"]
    assert (
        golden.compare(
            "sample", spec, case.outputs, replay_sample(graphs["denoise"], model.manifest.params, case.inputs)
        )
        <= 1e-4
    )


@pytest.mark.parametrize(("level", "gain_db"), [(25, 3), (50, 5), (100, 6)])
def test_denoising_gains_also_where_the_noise_level_is_estimated(level: int, gain_db: float) -> None:
    truth = pictures(0, 16)
    noisy = (truth + level / 255 * np.random.default_rng(0).normal(size=truth.shape)).clip(0, 1)
    rows = noisy.reshape(16, 784).tolist()
    known = answers(
        "diffusion-fashion", "enhance", DiffusionEnhanceRequest(task="denoise", rows=rows, sigma=level / 255)
    )
    blind = answers("diffusion-fashion", "enhance", DiffusionEnhanceRequest(task="denoise", rows=rows))
    assert psnr_db(images_of(known), truth) > psnr_db(noisy, truth) + gain_db
    assert psnr_db(images_of(blind), truth) > psnr_db(images_of(known), truth) - 1


def test_restorations_agree_with_what_was_measured_and_come_near_the_truth() -> None:
    truth = pictures(20, 4)
    small = truth.reshape(4, 14, 2, 14, 2).mean((2, 4))
    request = DiffusionEnhanceRequest(task="super_resolve", rows=small.reshape(4, 196).tolist(), seed=1, steps=10)
    restored = answers("diffusion-fashion", "enhance", request)
    assert all(item["consistency_error"] < 1 / 255 for item in restored)
    assert psnr_db(images_of(restored), truth) > psnr_db(small.repeat(2, 1).repeat(2, 2), truth)
    known = np.random.default_rng(0).uniform(size=(1, 28, 28)) > 0.5
    mask = shipped.Image(images.encode_png(known.astype(np.float32)))
    request = DiffusionEnhanceRequest(
        task="inpaint", rows=truth.reshape(4, 784).tolist(), masks=[mask], seed=1, steps=10
    )
    filled = images_of(answers("diffusion-fashion", "enhance", request))
    np.testing.assert_allclose(filled[:, known[0]], truth[:, known[0]], atol=1e-6)
    assert psnr_db(filled, truth) > psnr_db(np.where(known, truth, truth.mean()), truth) + 3


def test_solvers_agree_where_steps_are_many_and_differ_where_they_are_few() -> None:
    def sampled(solver: str, steps: int) -> np.ndarray:
        request = DiffusionSampleRequest.model_validate(
            {"n": 2, "class": "ankle-boot", "seed": 3, "solver": solver, "steps": steps}
        )
        return images_of(answers("diffusion-fashion", "sample", request))

    reference = sampled("heun", 40)
    distance = {key: float(np.abs(sampled(*key) - reference).mean()) for key in (("dpmpp_2m", 40), ("ddim", 8))}
    assert distance["dpmpp_2m", 40] < 0.02 < distance["ddim", 8]
