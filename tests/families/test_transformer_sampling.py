"""All rows of a step are sampled at once, with the bits that a row has alone: those of a sampler of one row."""

import math

import numpy as np
import pytest

from service.families.transformer.sampling import Policies, descending, likeliest, log_softmax, sample

VOCABULARIES = [7, 300, 4096]
TEMPERATURES = [0.0, 5e-324, 0.3, 1.0, 1.7]


def scalar_log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - float(logits.max())
    return shifted - math.log(np.exp(shifted).sum())


def scalar_sample(logits: np.ndarray, temperature: float, top_k: int | None, top_p: float, uniform: float) -> int:
    """One row's token, from the one-dimensional operations that define its bits."""
    if temperature == 0:
        return int(np.argmax(logits))
    ids = np.arange(len(logits))
    if top_k is not None or top_p < 1:
        ids = np.argsort(-logits, kind="stable")[:top_k]
    with np.errstate(over="ignore"):
        weights = np.exp((logits[ids].astype(np.float64) - float(logits.max())) / temperature)
    shares = weights / weights.sum()
    if top_p < 1:
        kept = int(np.searchsorted(np.cumsum(shares), top_p)) + 1
        ids, shares = ids[:kept], shares[:kept] / shares[:kept].sum()
    reached = np.cumsum(shares)
    return int(ids[np.searchsorted(reached, uniform * reached[-1])])


def logits_of(random: np.random.Generator, rows: int, size: int) -> np.ndarray:
    """Rows of several spreads; every third has many equal logits, zeros of both signs among them."""
    logits = random.normal(size=(rows, size)) * random.choice([0.1, 1.0, 4.0, 20.0], (rows, 1))
    logits[::3] = np.round(logits[::3])
    return logits.astype(np.float32)


@pytest.mark.parametrize("size", VOCABULARIES)
def test_rows_of_all_settings_draw_what_each_draws_alone(size: int) -> None:
    random, rows = np.random.default_rng(size), 400
    logits, uniforms = logits_of(random, rows, size), random.uniform(size=rows)
    temperature, top_k = random.choice(TEMPERATURES, rows), random.choice([0, 1, 5, 50, size - 1, size, 9999], rows)
    top_p = random.choice([0.1, 0.5, 0.9, 0.99, np.nextafter(1, 0), 1.0], rows)
    wanted = [
        scalar_sample(logits[row], temperature[row], int(top_k[row]) or None, top_p[row], uniforms[row])
        for row in range(rows)
    ]
    assert sample(logits, Policies(temperature, top_k, top_p), uniforms).tolist() == wanted


@pytest.mark.parametrize("size", VOCABULARIES)
def test_log_probabilities_of_many_rows_are_those_of_each(size: int) -> None:
    logits = logits_of(np.random.default_rng(size), 64, size)
    wanted = np.stack([scalar_log_softmax(row) for row in logits])
    assert log_softmax(logits).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("size", VOCABULARIES)
@pytest.mark.parametrize("count", [1, 5, 50, 9999])
def test_the_likeliest_are_the_first_of_a_stable_sort(size: int, count: int) -> None:
    for scores in (logits := logits_of(np.random.default_rng(size), 30, size), log_softmax(logits)):
        wanted = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        assert likeliest(scores, count).tolist() == wanted.tolist()


@pytest.mark.parametrize("size", VOCABULARIES)
def test_descending_is_a_stable_sort(size: int) -> None:
    logits = logits_of(np.random.default_rng(size), 30, size)
    assert descending(logits).tolist() == np.argsort(-logits, axis=1, kind="stable").tolist()
