"""Laws of the transformer: causality, the cache, rotations, grouped heads, and the loss before training."""

import math

import pytest
import torch
from torch import Tensor, nn

from training.transformer.attention import Cache, KeyValue, Rotation, cached_attention, causal_attention
from training.transformer.model import Shape, Step, Transformer
from training.transformer.objective import next_token_nats

SHAPE = Shape(capacity=24, width=32, layers=2, heads=4, kv_heads=2, head_size=16, hidden=48)
VOCABULARY = 50
CHUNK = 8


@pytest.fixture(scope="module")
def model() -> Transformer:
    """A transformer in double precision in which every weight matters."""
    torch.manual_seed(0)
    network = Transformer(VOCABULARY, SHAPE)
    for parameter in network.parameters():
        nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)
    return network.double().eval()


def text(length: int = SHAPE.capacity, rows: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(length))


def empty_cache(rows: int = 1) -> Tensor:
    return torch.zeros(rows, SHAPE.layers, SHAPE.kv_heads, SHAPE.capacity, SHAPE.head_size, dtype=torch.float64)


def cached_logits(model: Transformer, ids: Tensor, sizes: list[int]) -> Tensor:
    """Logits [B, S, V] of a text that is read in pieces of these sizes, through the cache."""
    key, value, place, logits = empty_cache(len(ids)), empty_cache(len(ids)), 0, []
    for size in sizes:
        step: Step = model(ids[:, place : place + size], torch.full((len(ids),), place), key, value)
        key[..., place : place + size, :], value[..., place : place + size, :] = step.key, step.value
        logits.append(step.logits)
        place += size
    return torch.cat(logits, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("place", [1, 11, 23])
def test_a_future_token_changes_nothing_before_it_and_something_from_it_on(model: Transformer, place: int) -> None:
    ids = text()
    changed = ids.clone()
    changed[0, place] = (ids[0, place] + 1) % VOCABULARY
    before, after = model.read(ids), model.read(changed)
    assert torch.equal(before[:, :place], after[:, :place])
    assert bool((before[:, place:] != after[:, place:]).any(dim=2).all())


@torch.no_grad()
@pytest.mark.parametrize(
    "sizes", [[24], [1] * 24, [8, 8, 8], [8, 8] + [1] * 8, [8, 1, 1, 14]], ids=lambda sizes: "+".join(map(str, sizes))
)
def test_a_text_read_through_the_cache_has_the_logits_of_the_text_read_whole(
    model: Transformer, sizes: list[int]
) -> None:
    ids = text(rows=3)
    torch.testing.assert_close(cached_logits(model, ids, sizes), model.read(ids), rtol=0, atol=1e-10)


@torch.no_grad()
def test_the_cache_agrees_to_1e_5_in_single_precision(model: Transformer) -> None:
    single = Transformer(VOCABULARY, SHAPE).eval()
    single.load_state_dict({name: 0.3 * value.float() for name, value in model.state_dict().items()})
    ids, cache = text(), empty_cache().float()
    last = single(ids[:, 16:], torch.tensor([16]), *_filled(single, ids[:, :16], cache))
    torch.testing.assert_close(last.logits, single.read(ids)[:, 16:], rtol=0, atol=1e-5)


def _filled(model: Transformer, ids: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
    step: Step = model(ids, torch.tensor([0]), cache, cache)
    key, value = cache.clone(), cache.clone()
    key[..., : ids.shape[1], :], value[..., : ids.shape[1], :] = step.key, step.value
    return key, value


@torch.no_grad()
def test_padding_after_the_last_token_changes_no_bit_before_it(model: Transformer) -> None:
    ids, padded = text(CHUNK), text(CHUNK).clone()
    padded[:, 5:] = 0
    first, second = (model(part, torch.tensor([0]), empty_cache(), empty_cache()) for part in (ids, padded))
    assert torch.equal(first.logits[:, :5], second.logits[:, :5])
    assert torch.equal(first.key[..., :5, :], second.key[..., :5, :])


@torch.no_grad()
def test_what_lies_in_the_cache_beyond_the_position_changes_no_bit(model: Transformer) -> None:
    ids, random = text(1, rows=2), torch.Generator().manual_seed(1)
    key, value = (torch.randn(empty_cache(2).shape, generator=random, dtype=torch.float64) for _ in range(2))
    position = torch.tensor([3, 17])
    clean = model(ids, position, key, value)
    for row, place in enumerate(position.tolist()):
        key[row, :, :, place:], value[row, :, :, place:] = 1e6, -1e6
    used = model(ids, position, key, value)
    assert all(torch.equal(*pair) for pair in zip(clean, used, strict=True))


@torch.no_grad()
def test_rows_at_different_positions_share_a_batch(model: Transformer) -> None:
    ids, random = text(1, rows=3), torch.Generator().manual_seed(2)
    key, value = (torch.randn(empty_cache(3).shape, generator=random, dtype=torch.float64) for _ in range(2))
    position = torch.tensor([0, 9, 23])
    together = model(ids, position, key, value).logits
    alone = [model(ids[row, None], position[row, None], key[row, None], value[row, None]).logits[0] for row in range(3)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-10)


def turned(x: Tensor, position: int) -> Tensor:
    table = Rotation.table(64, x.shape[-1])
    return Rotation(table.cos[position].double(), table.sin[position].double()).turn(x)


def test_dot_products_of_rotated_vectors_depend_on_relative_positions_only() -> None:
    query, key = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    products = [turned(query, place + 7) @ turned(key, place) for place in (0, 5, 40)]
    torch.testing.assert_close(products, [products[0]] * 3, rtol=0, atol=1e-5)
    assert abs(turned(query, 8) @ turned(key, 0) - products[0]) > 1e-2


def test_a_rotation_keeps_the_length_and_position_zero_the_vector() -> None:
    x = torch.randn(16, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(turned(x, 0), x, rtol=0, atol=0)
    torch.testing.assert_close(turned(x, 63).norm(), x.norm(), rtol=1e-6, atol=0)


def test_grouped_attention_is_the_formula_with_each_key_head_repeated() -> None:
    random = torch.Generator().manual_seed(5)
    query = torch.randn(2, 6, 5, 8, dtype=torch.float64, generator=random)
    new = KeyValue(*(torch.randn(2, 3, 5, 8, dtype=torch.float64, generator=random) for _ in range(2)))
    key, value = (side.repeat_interleave(2, dim=1) for side in new)
    scores = (query @ key.mT / math.sqrt(8)).masked_fill(torch.ones(5, 5).triu(1) > 0, -torch.inf)
    wanted = scores.softmax(dim=3) @ value
    nothing = torch.zeros(2, 3, 4, 8, dtype=torch.float64)
    empty = Cache(nothing, nothing, seen=torch.zeros(2, 4, dtype=torch.bool))
    torch.testing.assert_close(causal_attention(query, new), wanted)
    torch.testing.assert_close(cached_attention(query, new, empty), wanted)


@torch.no_grad()
@pytest.mark.parametrize("vocabulary_size", [1024, 4096])
def test_the_loss_before_training_is_near_the_logarithm_of_the_vocabulary(vocabulary_size: int) -> None:
    torch.manual_seed(6)
    network, random = Transformer(vocabulary_size, Shape()), torch.Generator().manual_seed(7)
    windows = torch.randint(vocabulary_size, (4, 65), generator=random)
    assert float(next_token_nats(network, windows).mean()) == pytest.approx(math.log(vocabulary_size), abs=0.1)


@torch.no_grad()
def test_the_probabilities_of_the_next_token_sum_to_one(model: Transformer) -> None:
    start = text(6)
    windows = torch.cat((start.expand(VOCABULARY, 6), torch.arange(VOCABULARY)[:, None]), dim=1)
    total = (-next_token_nats(model, windows)[:, -1]).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-10)
