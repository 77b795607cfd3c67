"""The two players' sessions, each of one step: generator and critic."""

from collections.abc import Mapping, Sequence

import numpy as np

from model_store.manifest import GanParams
from model_store.store import Model
from service import rng
from service.arrays import Array, Columns
from service.families.family import Sessions
from service.families.gan.parameters import GanGeneration, GanJudgement
from service.families.pipeline import params_of
from service.families.session import OneShot, block_seeds, by_block, dense, gather, parameters_of
from service.graph import Graph
from service.jobs import Block, Integers
from service.settings import Settings

LATENT_STREAM = 0


def open_sessions(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
    """Sessions of a loaded GAN, by kind."""
    latent_size = params_of(model, GanParams).latent_size

    def generate(blocks: Sequence[Block]) -> Sequence[Columns]:
        return _generate(graphs["map"], graphs["synthesise"], blocks, latent_size)

    def judge(blocks: Sequence[Block]) -> Sequence[Columns]:
        return _judge(graphs["discriminate"], blocks)

    return {GanGeneration: OneShot(generate), GanJudgement: OneShot(judge)}


def drawn_latents(seeds: Integers, latent_size: int) -> Array:
    """z [k, D] of seeds [k], standard normal."""
    return rng.normal(seeds, LATENT_STREAM, 0, (latent_size,))


def _generate(mapping: Graph, synthesise: Graph, blocks: Sequence[Block], latent_size: int) -> Sequence[Columns]:
    """A row's style is the sum of its points' styles by their weights: one of weight 1, or two that it lies between."""
    points = _points(blocks, latent_size)
    labels = [dense(block, "label") for block in blocks]
    truncations = [parameters_of(block, GanGeneration).truncation for block in blocks]
    counts = [own.shape[:2] for own in points]  # rows, and the points of each
    styles = mapping(
        z=np.concatenate([own.reshape(-1, latent_size) for own in points]),
        label=np.concatenate([np.repeat(own, each) for own, (_, each) in zip(labels, counts, strict=True)]),
        truncation=np.repeat(np.array(truncations, np.float32), [rows * each for rows, each in counts]),
    )["w"].numpy()
    images = synthesise(w=_mixed(styles, blocks), label=np.concatenate(labels))["image"].numpy()
    return [
        {**image, "points": own, "label": label}
        for image, own, label in zip(by_block({"image": images}, blocks), points, labels, strict=True)
    ]


def _points(blocks: Sequence[Block], latent_size: int) -> list[Array]:
    """For each block, the latents that it brings, [k, m, D], or those that its seeds draw, [k, 1, D]."""
    drawing = [block for block in blocks if "points" not in block.columns]
    drawn = iter(by_block({"z": drawn_latents(block_seeds(drawing), latent_size)}, drawing) if drawing else [])
    return [dense(block, "points") if "points" in block.columns else next(drawn)["z"][:, None] for block in blocks]


def _mixed(styles: Array, blocks: Sequence[Block]) -> Array:
    """The styles of the rows, [n, ...], from those of all their points."""
    mixed, start = [], 0
    for weights in (dense(block, "weights") for block in blocks):
        own = styles[start : start + weights.size].reshape(*weights.shape, -1)
        mixed.append((weights[:, :, None] * own).sum(axis=1))
        start += weights.size
    return np.concatenate(mixed)


def _judge(discriminate: Graph, blocks: Sequence[Block]) -> Sequence[Columns]:
    """The logits [k, labels] of each block's images as one of each of its labels."""
    labels = [np.array(parameters_of(block, GanJudgement).labels, np.int64) for block in blocks]
    each = np.repeat([len(own) for own in labels], [len(block) for block in blocks])
    logits = discriminate(
        image=np.repeat(gather(blocks, "x"), each, axis=0),
        label=np.concatenate([np.tile(own, len(block)) for own, block in zip(labels, blocks, strict=True)]),
    )["logit"].numpy()
    parts = np.split(logits, np.cumsum([len(block) * len(own) for block, own in zip(blocks, labels, strict=True)])[:-1])
    return [{"logits": part.reshape(len(block), -1).copy()} for part, block in zip(parts, blocks, strict=True)]
