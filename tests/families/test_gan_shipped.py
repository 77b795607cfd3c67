"""The shipped GAN through its sessions: what it is for, on real data."""

import numpy as np
from scipy.stats import kstest
from shipped import DATA, answers, fashion, loaded

from fivefold.gan import GanSampleRequest, GanScoreRequest


def pictures(class_name: str, **fields) -> np.ndarray:
    items = answers("gan-fashion", "sample", GanSampleRequest(class_name=class_name, **fields))
    return np.stack([item["image"][0] for item in items])


def test_truncation_trades_variety_for_the_mean() -> None:
    spreads = [pictures("bag", n=24, seed=1, truncation=truncation).std(0).mean() for truncation in (0, 0.5, 1)]
    assert spreads[0] < 1e-6  # the same picture; its mean is rounded
    assert 0 < spreads[1] < spreads[2]


def test_samples_look_like_their_class_and_stay_in_range() -> None:
    classes = loaded("gan-fashion")[0].manifest.params.classes
    labels = np.load(DATA / "fashion_test_500.npz")["labels"]
    means = [np.mean([fashion(index) for index in np.flatnonzero(labels == label)], 0) / 255 for label in range(10)]
    for name in ("trouser", "ankle-boot", "bag"):
        drawn = pictures(name, n=24, seed=2)
        assert 0 <= drawn.min() <= drawn.max() <= 1
        distances = [np.abs(drawn.mean(0) - mean).mean() for mean in means]
        assert int(np.argmin(distances)) == classes.index(name)


def test_percentiles_of_real_and_of_generated_images_are_uniform_among_their_own() -> None:
    classes = loaded("gan-fashion")[0].manifest.params.classes
    labels = np.load(DATA / "fashion_test_500.npz")["labels"]
    real, generated = [], []
    for label, name in enumerate(classes):
        rows = [(fashion(index) / 255).reshape(784).tolist() for index in np.flatnonzero(labels == label)[:20]]
        scored = answers("gan-fashion", "score", GanScoreRequest(rows=rows, class_name=name))
        real += [item["percentile_real"] / 100 for item in scored]
        rows = pictures(name, n=20, seed=1000 * label).reshape(20, 784).tolist()
        scored = answers("gan-fashion", "score", GanScoreRequest(rows=rows, class_name=name))
        generated += [item["percentile_generated"] / 100 for item in scored]
    assert kstest(real, "uniform").pvalue > 0.001
    assert kstest(generated, "uniform").pvalue > 0.001
