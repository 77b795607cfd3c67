"""The two players' sessions, each of one step: generator and critic."""

from collections.abc import Mapping, Sequence

import numpy as np

from model_store.manifest import GanParams
from model_store.store import Model
from service import rng
from service.arrays import Array, Arrays
from service.families.pipeline import params_of
from service.families.session import OneShot, Session
from service.graph import Graph
from service.jobs import Row

LATENT_STREAM = 0


def open_sessions(model: Model, graphs: Mapping[str, Graph]) -> Mapping[str, Session]:
    """Sessions of a loaded GAN, by kind."""
    latent_size = params_of(model, GanParams).latent_size

    def generate(rows: Sequence[Row]) -> list[Arrays]:
        return _generate(graphs["map"], graphs["synthesise"], rows, latent_size)

    def judge(rows: Sequence[Row]) -> list[Arrays]:
        return _judge(graphs["discriminate"], rows)

    return {
        "generator": OneShot(generate, ("map", "synthesise")),
        "critic": OneShot(judge, ("discriminate",)),
    }


def drawn_latents(seed: int, latent_size: int) -> Array:
    """z [D] of a seed, standard normal."""
    return rng.normal(seed, LATENT_STREAM, 0, (latent_size,))


def _generate(mapping: Graph, synthesise: Graph, rows: Sequence[Row], latent_size: int) -> list[Arrays]:
    """A row's style is the sum of its points' styles by their weights: one of weight 1, or two that it lies between."""
    points = [_points(row, latent_size) for row in rows]
    counts = [len(row_points) for row_points in points]
    truncations = np.array([row.params["truncation"] for row in rows], np.float32)
    labels = np.array([row.params["label"] for row in rows], np.int64)
    styles = mapping(
        z=np.concatenate(points), label=np.repeat(labels, counts), truncation=np.repeat(truncations, counts)
    )["w"].numpy()
    mixed = [_mixed(row, own) for row, own in zip(rows, np.split(styles, np.cumsum(counts)[:-1]), strict=True)]
    images = synthesise(w=np.stack(mixed), label=labels)["image"].numpy()
    batch = zip(images, points, labels, strict=True)
    return [{"image": np.array(image), "points": own, "label": np.array(label)} for image, own, label in batch]


def _points(row: Row, latent_size: int) -> Array:
    """The latents that a row brings, [m, D], or those that its seed draws, [1, D]."""
    return row.arrays["points"] if "points" in row.arrays else drawn_latents(row.seed, latent_size)[None]


def _mixed(row: Row, styles: Array) -> Array:
    weights = np.array(row.params["weights"], np.float32)[:, None]
    style: Array = (weights * styles).sum(axis=0)
    return style


def _judge(discriminate: Graph, rows: Sequence[Row]) -> list[Arrays]:
    """The logits of each row's image as one of each of its labels."""
    counts = [len(row.params["labels"]) for row in rows]
    logits = discriminate(
        image=np.repeat(np.stack([row.arrays["x"] for row in rows]), counts, axis=0),
        label=np.array([label for row in rows for label in row.params["labels"]], np.int64),
    )["logit"].numpy()
    return [{"logits": np.array(own)} for own in np.split(logits, np.cumsum(counts)[:-1])]
