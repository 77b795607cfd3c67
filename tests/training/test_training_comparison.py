"""The comparison: errors that are the known ones, figures that the trainers measured too, a row for every model."""

import math
from pathlib import Path

import numpy as np
import pytest
from recipes import Trained, published
from sklearn.metrics import roc_auc_score

from docs.readme import comparison as summary
from model_store.manifest import DiffusionParams
from model_store.store import Store
from training.__main__ import main
from training.comparison.command import FAMILIES, comparison, subject_of, subjects
from training.comparison.denoising import CLASSICS
from training.comparison.entry import Entry, evaluate
from training.comparison.estimate import Estimate, auroc, jackknife, mean, ratio
from training.comparison.report import Comparison, table
from training.comparison.samples import judge
from training.comparison.sets import Sets
from training.comparison.speed import measure
from training.comparison.subject import Samples
from training.diffusion.sampler import dpmpp_2m, heun, karras_sigmas
from training.evaluate import Scorer

SHIPPED = [subject.model.ref.name for subject in subjects(Store())]
FASHION_TEST = Path(__file__).parents[1] / "data" / "fashion_test_500.npz"


@pytest.fixture(scope="module")
def sets() -> Sets:
    return Sets(Path("nowhere"), count=20, toy=True)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer()


@pytest.fixture(scope="module")
def shipped(sets: Sets) -> Comparison:
    """Every shipped model on toy data."""
    return comparison(subjects(Store()), sets, seed=0, command="python -m training evaluate", say=lambda _: None)


# Estimates.


def test_the_errors_of_mean_ratio_and_jackknife_are_the_spreads_of_repeated_experiments() -> None:
    random = np.random.default_rng(0)
    pairs = random.gamma(4.0, size=(400, 200, 2))
    for figure in (
        lambda rows: mean(rows[:, 0]),
        lambda rows: ratio(rows[:, 0], rows[:, 1]),
        lambda rows: jackknife(lambda kept: float(np.log(kept[:, 0].mean())), rows),
    ):
        repeated = [figure(rows) for rows in pairs]
        spread = np.std([estimate.value for estimate in repeated])
        assert np.mean([estimate.standard_error for estimate in repeated]) == pytest.approx(spread, rel=0.15)


def test_auroc_is_the_known_one_with_ties_too_and_its_error_the_spread_of_repeated_experiments() -> None:
    random = np.random.default_rng(0)
    normal, strange = random.normal(0, 1, (300, 150)).round(1), random.normal(1, 1, (300, 80)).round(1)
    repeated = [auroc(*pair) for pair in zip(normal, strange, strict=True)]
    wanted = roc_auc_score(np.repeat((0, 1), (150, 80)), np.concatenate((normal[0], strange[0])))
    assert repeated[0].value == pytest.approx(wanted)
    spread = np.std([estimate.value for estimate in repeated])
    assert np.mean([estimate.standard_error for estimate in repeated]) == pytest.approx(spread, rel=0.1)
    assert np.mean([estimate.value for estimate in repeated]) == pytest.approx(0.5 * math.erfc(-0.5), abs=0.01)


def test_a_score_that_separates_has_auroc_one_and_an_uninformative_one_a_half() -> None:
    rows = np.arange(50.0)
    assert auroc(rows, rows + 100) == Estimate(1.0, 0.0)
    assert auroc(rows, rows).value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(3.30736, 0.00412), "3.3074 ± 0.0041"),
        (Estimate(72.9, 1.26), "72.9 ± 1.3"),
        (Estimate(5432.1, 120.0), "5432 ± 120"),
        (Estimate(4.47312, 0.0), "4.473"),
    ],
)
def test_an_estimate_is_written_with_two_digits_of_its_error(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


def test_the_exponential_of_an_estimate_carries_its_error() -> None:
    assert Estimate(2.0, 0.01).exponential() == Estimate(math.exp(2), 0.01 * math.exp(2))


# Figures.


def test_test_images_are_at_the_floor_and_in_their_classes(scorer: Scorer) -> None:
    with np.load(FASHION_TEST) as archive:
        images, labels = archive["images"][:, None] / np.float32(255), archive["labels"]
    quality = judge(Samples("test images", images, labels), scorer)
    assert quality.fd_fmnist.value == pytest.approx(scorer.fd_fmnist(images))
    assert quality.accuracy == mean(scorer.classify(images)[1].argmax(axis=1) == labels)
    noise = np.random.default_rng(0).random(images.shape, dtype=np.float32)
    assert judge(Samples("noise", noise), scorer).fd_fmnist.value > 50 * quality.fd_fmnist.value


def test_what_serving_rounds_away_does_not_count(scorer: Scorer) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 28, 28)) / 255
    assert judge(Samples("a", images + 0.4 / 255), scorer) == judge(Samples("a", images), scorer)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("flow-shuttle", "bits_per_dim_test"),
        ("vae-shuttle", "elbo_test_bits_per_dim"),
        ("transformer-english", "bits_per_byte_test"),
    ],
)
def test_the_likelihood_by_the_graphs_alone_is_the_one_measured_in_training(
    name: str, metric: str, trained: Trained, sets: Sets
) -> None:
    model = published(name, trained(name))
    found = subject_of(model).likelihood(sets, seed=0)[0].estimate
    assert found.value == pytest.approx(model.manifest.metrics[metric], rel=1e-4)
    assert 0 < found.standard_error < found.value


def test_perplexity_is_that_of_training_too(trained: Trained, sets: Sets) -> None:
    model = published("transformer-english", trained("transformer-english"))
    found = subject_of(model).likelihood(sets, seed=0)[1]
    assert found.estimate.value == pytest.approx(model.manifest.metrics["perplexity_test"], rel=1e-4)


def test_a_gan_makes_images_of_every_class_and_has_no_likelihood(trained: Trained, sets: Sets) -> None:
    subject = subject_of(published("gan-fashion", trained("gan-fashion")))
    (samples,) = subject.samples(20, seed=0)
    assert samples.images.shape == (20, 1, 28, 28)
    assert samples.labels is not None
    assert set(samples.labels) == set(range(10))
    assert subject.likelihood(sets, seed=0) == ()
    assert all(measure(subject, timed, batch=2).best_ms > 0 for timed in subject.timed)


def test_the_bound_of_many_draws_is_tighter(sets: Sets) -> None:
    _, elbo, iwae = subject_of(Store().resolve("vae-shuttle")).likelihood(sets, seed=0)
    assert iwae.estimate.value < elbo.estimate.value


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(sets: Sets, scorer: Scorer) -> None:
    subject = subject_of(Store().resolve("flow-fashion"))

    def figures(seed: int) -> Entry:
        return evaluate(subject, sets, scorer, seed, say=lambda _: None)

    first, again, other = figures(0), figures(0), figures(1)
    assert (first.quality, first.likelihood, first.detection) == (again.quality, again.likelihood, again.detection)
    assert first.quality != other.quality
    assert first.likelihood != other.likelihood


def test_the_multistep_sampler_ends_where_heun_ends() -> None:
    params = DiffusionParams(image_shape=(1, 2, 2), classes=("a",), sigma_data=0.5, sigma_min=0.002, sigma_max=80.0)

    def gaussian(x: np.ndarray, sigma: np.ndarray, label: np.ndarray) -> np.ndarray:
        return (x / (1 + 4 * sigma[:, None, None, None] ** 2)).astype(np.float32)  # data of standard deviation 1/2

    noise = np.random.default_rng(0).standard_normal((3, *params.image_shape), dtype=np.float32)
    label = np.zeros(3, np.int64)
    sigmas = karras_sigmas(100, params.sigma_min, params.sigma_max, params.rho)
    ends = [solver(gaussian, noise, label, sigmas) for solver in (dpmpp_2m, heun)]
    np.testing.assert_allclose(*ends, atol=2e-3)
    np.testing.assert_allclose(ends[1], (noise / 2).clip(-1, 1), atol=2e-3)


def test_denoisers_are_judged_on_the_same_noise_and_beat_the_noisy_image(shipped: Comparison) -> None:
    by_level = {level: [row for row in shipped.denoised if row.level == level] for level in (25, 50, 100)}
    for level, rows in by_level.items():
        noisy, *_ = rows
        assert 0 < noisy.psnr_db.value - 20 * math.log10(255 / level) < 4  # clipping helps a little
        assert max(row.psnr_db.value for row in rows) > noisy.psnr_db.value + 1
    for rows in by_level.values():
        strengths = [row.method for row in rows if "strength" in row.method]
        assert [method.split(", strength")[0] for method in strengths] == list(CLASSICS)
    assert len(by_level[25]) == len(by_level[50]) == len(by_level[100]) > 1 + len(CLASSICS)


# The document.


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_has_a_row_in_the_comparison(name: str, shipped: Comparison) -> None:
    text = shipped.markdown()
    assert text.count(f"| {name}@") >= 2  # its speed, and what it can do
    entry = next(entry for entry in shipped.entries if entry.model.startswith(f"{name}@"))
    assert entry.quality or entry.likelihood or entry.detection
    assert all(speed.best_ms > 0 for _, by_batch in entry.speed for speed in by_batch.values())


def test_the_table_of_the_families_has_the_five_whatever_is_in_the_store(shipped: Comparison) -> None:
    empty = Comparison("command", "machine", "classifier", shipped.families, [], [], [], [])
    for document in (shipped, empty):
        lines = document.markdown().split("\n## ")[0].splitlines()
        assert [line.split("**")[1] for line in lines if line.startswith("| **")] == [
            subject.family.name for subject in FAMILIES
        ]


def test_every_row_of_every_table_has_as_many_cells_as_its_head(shipped: Comparison) -> None:
    sections = shipped.markdown().split("\n\n")
    tables = [section.splitlines() for section in sections if section.startswith("|")]
    assert len(tables) == 6
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines) > 2


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [(1, "x")]) == "| a | b |\n| --- | --- |\n| 1 | x |"


def test_the_readme_shows_the_part_before_the_first_topic(tmp_path: Path, shipped: Comparison) -> None:
    path = tmp_path / "comparison.md"
    path.write_text(shipped.markdown())
    assert summary(path).startswith("| family |")
    assert "python -m training evaluate" in summary(path)
    assert "## " not in summary(path)


# The command.


def test_the_command_prints_and_writes_the_comparison_of_a_store(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, runs = tmp_path / "comparison.md", trained("transformer-english") / "runs"
    arguments = ["evaluate", "--quick", "--runs", str(runs), "--data", str(tmp_path / "data"), "--samples", "20"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert out.read_text() in capsys.readouterr().out
    assert "`python -m training evaluate --samples 20 --seed 0 --quick`" in out.read_text()
    assert not (tmp_path / "data").exists()


def test_an_empty_store_is_refused_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--quick", "--store", str(tmp_path), "--out", str(tmp_path / "out.md")]) == 1
    assert "train one" in " ".join(capsys.readouterr().out.split())  # a line breaks where the path lets it
    assert not (tmp_path / "out.md").exists()


@pytest.mark.parametrize("count", [0, 19, 10_001])
def test_more_samples_than_test_images_are_refused_with_both_numbers(
    count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--samples", str(count)])
    error = capsys.readouterr().err
    assert f"{count} samples asked" in error
    assert "20 to 10000" in error
