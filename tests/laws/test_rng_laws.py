"""Noise: a function of seed, stream and step alone, with the distribution it claims."""

import hashlib
import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from service import rng

SEEDS, STEPS = st.integers(0, rng.SEED_LIMIT - 1), st.integers(0, 2**31 - 1)


def one(draw, seed: int, stream: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """The draw of one seed, [*shape]."""
    return draw(np.array([seed]), stream, step, shape)[0]


@given(
    keys=st.lists(st.tuples(SEEDS, STEPS), min_size=1, max_size=3),
    rows=st.sampled_from([1, 3, rng.MANY, rng.MANY + 1]),
    stream=st.integers(0, 2**31 - 1),
    width=st.integers(1, 9) | st.integers(rng.NARROW - 2, rng.NARROW + 2),
)
def test_the_bits_are_those_of_numpys_generator(
    keys: list[tuple[int, int]], rows: int, stream: int, width: int
) -> None:
    seeds, steps = np.array([keys[row % len(keys)] for row in range(rows)]).T
    own = [np.random.Philox(key=seed, counter=[0, step, stream, 0]).random_raw(width) for seed, step in keys]
    expected = np.stack([rng.midpoints(own[row % len(keys)]) for row in range(rows)])
    np.testing.assert_array_equal(rng.uniform(seeds, stream, steps, (width,)), expected)


@pytest.mark.parametrize("draw", [rng.uniform, rng.uniform_float32, rng.normal])
@pytest.mark.parametrize("shape", [(9,), (2, 3, 4), (rng.NARROW + 1,)])
def test_a_rows_bits_are_the_same_alone_and_among_many(draw, shape: tuple[int, ...]) -> None:
    seeds, steps = np.arange(300) ** 2, np.arange(300) % 7
    together = draw(seeds, 2, steps, shape)
    assert together.shape == (300, *shape)
    for row in (0, 1, 150, 299):
        assert together[row].tobytes() == one(draw, seeds[row], 2, steps[row], shape).tobytes()


def test_rows_that_fill_the_cache_more_than_once_are_drawn_in_order() -> None:
    rows = 2 * rng.CACHED_BLOCKS // 16 + 1
    together = rng.uniform(np.arange(rows), 0, 0, (64,))
    for row in (0, rows // 2, rows - 2, rows - 1):
        assert together[row].tobytes() == one(rng.uniform, row, 0, 0, (64,)).tobytes()


@pytest.mark.parametrize("draw", [rng.uniform, rng.normal])
def test_no_row_gives_no_number(draw) -> None:
    assert draw(np.arange(0), 0, 0, (3, 2)).shape == (0, 3, 2)


@pytest.mark.parametrize("draw", [rng.uniform, rng.normal])
def test_the_same_seed_stream_and_step_give_the_same_bits(draw) -> None:
    assert one(draw, 7, 1, 3, (4, 5)).tobytes() == one(draw, 7, 1, 3, (4, 5)).tobytes()


@pytest.mark.parametrize("draw", [rng.uniform, rng.normal])
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(draw) -> None:
    longest = one(draw, 7, 1, 3, (97,))
    assert all(one(draw, 7, 1, 3, (size,)).tobytes() == longest[:size].tobytes() for size in (1, 5, 16, 33))


def test_any_other_seed_stream_or_step_gives_other_bits() -> None:
    draws = {
        one(rng.uniform, *key, (4,)).tobytes()
        for key in itertools.product((0, 1, 2**52, 2**53 - 1), range(3), range(3))
    }
    assert len(draws) == 4 * 3 * 3


def test_the_stream_does_not_change_from_one_release_to_the_next() -> None:
    digest = hashlib.sha256(one(rng.uniform, 7, 1, 3, (1000,)).tobytes()).hexdigest()
    assert digest == "aa6d351159d4bb76a5f786acc1fbff3b2dd6c760cf9b8b1f1221b8432619ae2e"
    np.testing.assert_allclose(one(rng.normal, 7, 1, 3, (3,)), [-0.0026566, 0.4402946, -1.3715246], rtol=1e-6)


def test_no_bits_give_zero_or_one() -> None:
    lowest, highest = rng.midpoints(np.array([0, 2**64 - 1], np.uint64))
    assert lowest > 0
    assert highest < 1
    assert lowest == 1 - highest
    assert np.isfinite(rng.inverse_normal_cdf(np.array([lowest, highest]))).all()


@pytest.mark.parametrize(
    "numbers",
    [
        lambda: one(rng.uniform, 11, 0, 0, (50_000,)),
        lambda: rng.uniform(np.arange(4_000), 0, 0, (5,)).reshape(-1),
        lambda: rng.uniform(np.zeros(4_000, int), 0, np.arange(4_000), (5,)).reshape(-1),
    ],
    ids=["one seed", "neighbouring seeds", "neighbouring steps"],
)
def test_uniform_numbers_are_uniform(numbers) -> None:
    assert scipy.stats.kstest(numbers(), "uniform").pvalue > 0.001


def test_normal_numbers_are_normal() -> None:
    assert scipy.stats.kstest(one(rng.normal, 11, 0, 0, (50_000,)), "norm").pvalue > 0.001


def test_neighbouring_seeds_and_streams_are_uncorrelated() -> None:
    keys = [(seed, stream) for seed in range(8) for stream in range(4)]
    correlations = np.corrcoef([one(rng.normal, *key, 0, (4_000,)) for key in keys])
    assert np.abs(correlations - np.eye(len(keys))).max() < 5 / np.sqrt(4_000)


def test_the_inverse_of_the_normal_distribution_function_is_that_of_scipy() -> None:
    p = np.concatenate(
        [one(rng.uniform, 1, 0, 0, (20_000,)), 10.0 ** -np.linspace(0.4, 300, 3_000), 1 - 2.0 ** -np.arange(2, 53)]
    )
    np.testing.assert_allclose(rng.inverse_normal_cdf(p), scipy.special.ndtri(p), rtol=2e-15, atol=2e-16)


def test_drawn_seeds_are_in_range_and_differ() -> None:
    seeds = {rng.draw_seed() for _ in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < rng.SEED_LIMIT for seed in seeds)
