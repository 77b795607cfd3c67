"""Publishes what a recipe finished: manifest, provenance, card, pictures and golden files into a store."""

import io
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from model_store.golden import GOLDEN, Golden, pack
from model_store.manifest import Manifest, Params, Provenance
from model_store.store import DEFAULT_ALIAS, Model, Store, file_spec
from training.export import Exported

CALIBRATION, SAMPLES, CARD = "calibration.npz", "samples.png", "card.md"


@dataclass(frozen=True)
class Description:
    """The prose of a model card."""

    summary: str
    data: str
    intended_use: str
    limits: str


@dataclass(frozen=True)
class Artefacts:
    """All that a recipe publishes.

    `metrics` have their units in their names. `goldens` are recorded runs by graph or case. `samples` is a PNG,
    `files` are published as they are, such as a tokenizer.
    `scored_by` names the files that the metrics depend on, with their sha256. `twins` are the same weights as other
    graphs, published as "<version>-<twin>".
    """

    graphs: Mapping[str, Exported]
    params: Params
    metrics: Mapping[str, float]
    goldens: Mapping[str, Golden]
    calibration: Mapping[str, NDArray[np.generic]]
    samples: bytes
    description: Description
    scored_by: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    twins: Mapping[str, Mapping[str, Exported]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One training, as far as its provenance needs it."""

    name: str
    version: str
    command: str
    seed: int
    seconds: float
    data: Mapping[str, str]
    licence: str


def publish(run: Run, artefacts: Artefacts, store: Store) -> Model:
    """Publish the model, and its twins where it has any. Raises StoreError where the version exists."""
    model = _publish(run, run.version, artefacts, artefacts.graphs, store)
    for twin, graphs in artefacts.twins.items():
        _publish(run, f"{run.version}-{twin}", artefacts, graphs, store)
    if artefacts.twins:
        store.set_alias(run.name, DEFAULT_ALIAS, run.version)
    return model


def _publish(run: Run, version: str, artefacts: Artefacts, graphs: Mapping[str, Exported], store: Store) -> Model:
    provenance = _provenance(run, artefacts)
    files = {
        GOLDEN: pack(artefacts.goldens),
        CALIBRATION: _npz(artefacts.calibration),
        SAMPLES: artefacts.samples,
        CARD: card(run, version, artefacts, provenance).encode(),
        **artefacts.files,
    }
    manifest = Manifest(
        name=run.name,
        version=version,
        graphs={name: graph.spec for name, graph in graphs.items()},
        params=artefacts.params,
        files={name: file_spec(data) for name, data in files.items()},
        metrics=dict(artefacts.metrics),
        provenance=provenance,
    )
    return store.publish(manifest, {**files, **{graph.spec.file: graph.data for graph in graphs.values()}})


def _provenance(run: Run, artefacts: Artefacts) -> Provenance:
    return Provenance(
        commit=_commit(),
        command=run.command,
        seed=run.seed,
        data={**run.data, **artefacts.scored_by},
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        training_seconds=round(run.seconds, 1),
        machine=machine(),
        licence=run.licence,
    )


def machine() -> str:
    """What trainings and measurements run on."""
    return f"{os.cpu_count()}-core {os.uname().machine} CPU, one thread, no GPU"


def _commit() -> str:
    """The commit of the checkout, or "unknown" outside of one (an image has neither history nor git)."""
    try:
        command = ("git", "rev-parse", "HEAD")
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"


def card(run: Run, version: str, artefacts: Artefacts, provenance: Provenance) -> str:
    """The model card, in Markdown."""
    text, rows = artefacts.description, artefacts.metrics.items()
    sources = "\n".join(f"* `{name}`: sha256 `{sha256}`" for name, sha256 in provenance.data.items())
    table = "\n".join(f"| {name} | {value:.6g} |" for name, value in sorted(rows))
    return f"""# {run.name}, version {version}

{text.summary}

![samples]({SAMPLES})

## Repeat the training

    {provenance.command}

{provenance.training_seconds:.0f} seconds of training on: {provenance.machine}. Seed {provenance.seed}.
Published at commit {provenance.commit}, {provenance.trained_at}: at that commit, on the same machine
with the same version of torch, the same command gives the same weights.

## Data

{text.data} Licence: {provenance.licence}.

{sources}

## Intended use

{text.intended_use}

## Limits

{text.limits}

## Figures

| metric | value |
|---|---|
{table}
"""


def image_grid(images: NDArray[np.floating], columns: int, scale: int = 2) -> bytes:
    """A PNG of grey images [N, 1, H, W] in [0, 1], row by row, each pixel `scale` pixels wide."""
    count, _, height, width = images.shape
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, height, width))
    padded[:count] = images[:, 0].clip(0, 1)
    grid = padded.reshape(rows, columns, height, width).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    picture = Image.fromarray(np.rint(grid * 255).astype(np.uint8))
    buffer = io.BytesIO()
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def compare_columns(data: NDArray[np.floating], samples: NDArray[np.floating], columns: tuple[str, ...]) -> bytes:
    """A PNG of each column's histogram, data against samples, within the central 99 % of the data."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    for index, axes in enumerate(figure.subplots(3, -(-len(columns) // 3)).flat):
        low, high = np.quantile(data[:, index], (0.005, 0.995))
        bins = np.linspace(low - 1, high + 1, 50).tolist()
        axes.hist(data[:, index], bins, density=True, alpha=0.5, label="held-out data")
        axes.hist(samples[:, index], bins, density=True, histtype="step", label="samples")
        axes.set(title=columns[index], yscale="log")
    figure.axes[0].legend()
    FigureCanvasAgg(figure).print_png(buffer := io.BytesIO())  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _npz(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
