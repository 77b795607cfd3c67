"""Data sets: fetched from package archives, hash-checked, split, as tensors."""

import gzip
import lzma
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.fetch import DataSet, Member, apt
from training.rdata import read_frame

FASHION_CLASSES = (
    "tshirt-top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)

FASHION = DataSet(
    name="fashion-mnist",
    archive=apt(
        "dataset-fashion-mnist",
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    ),
    members=tuple(
        Member(f"usr/share/datasets/fashion-mnist/{name}-ubyte.gz", gzip.decompress, sha256)
        for name, sha256 in {
            "train-images-idx3": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        }.items()
    ),
    licence="MIT (Fashion-MNIST, Zalando SE)",
)

SHUTTLE = DataSet(
    name="shuttle",
    archive=apt(
        "r-cran-mlbench",
        "r-cran-mlbench_2.1-3-1_amd64.deb",
        "2f1127f7b5e7d08703b13b52ef1976a0c355a7660d6ac575e29b87b13921bc06",
    ),
    members=(
        Member(
            "usr/lib/R/site-library/mlbench/data/Shuttle.rda",
            lzma.decompress,
            "f9d3d58df57332c5f7781162081c4a1169daa24afafc3b63fb729fefd81252aa",
        ),
    ),
    licence="CC BY 4.0 (Statlog Shuttle, UCI Machine Learning Repository, by way of R's mlbench)",
)

SHUTTLE_COLUMNS = tuple(f"V{index}" for index in range(1, 10))  # sensor readings, as the source calls them


@dataclass(frozen=True)
class Data:
    """A split data set: each part is a tuple of tensors with one row per example.

    `provenance` maps the names of the source files to the sha256 of their decoded bytes. `strangers` are rows of other
    origin, by name, that a score should tell from the data.
    """

    train: tuple[Tensor, ...]
    held_out: tuple[Tensor, ...]
    test: tuple[Tensor, ...]
    provenance: Mapping[str, str]
    licence: str
    strangers: Mapping[str, Tensor] = field(default_factory=dict)


def fashion(folder: Path) -> Data:
    """Fashion-MNIST: images uint8 [N, 1, 28, 28] and labels int64 [N]; 55,000 train, 5,000 held out, 10,000 test."""
    train_images, train_labels, test_images, test_labels = map(read_idx, FASHION.load(folder))
    images, labels = _images(train_images), torch.from_numpy(train_labels.astype(np.int64))
    order = _shuffled(len(images))
    kept, held_out = order[:55_000], order[55_000:]
    return Data(
        train=(images[kept], labels[kept]),
        held_out=(images[held_out], labels[held_out]),
        test=(_images(test_images), torch.from_numpy(test_labels.astype(np.int64))),
        provenance=FASHION.provenance(),
        licence=FASHION.licence,
    )


def shuttle(folder: Path) -> Data:
    """Statlog Shuttle by ADBench's rule: rows float32 [N, 9] and outlier flags bool [N].

    Class High is dropped, an outlier is what is not Rad.Flow: 49,097 rows, 3,511 outliers. Train (27,000) and held
    out (5,000) are normals only, the test part is the other 13,586 normals and all outliers.
    """
    rows, outlier = shuttle_table(folder)
    normals = torch.from_numpy(rows[~outlier])
    order = _shuffled(len(normals))
    train, held_out, test = (normals[part] for part in (order[:27_000], order[27_000:32_000], order[32_000:]))
    outliers = torch.from_numpy(rows[outlier])
    flags = torch.arange(len(test) + len(outliers)) >= len(test)
    return Data(
        train=(train, torch.zeros(len(train), dtype=torch.bool)),
        held_out=(held_out, torch.zeros(len(held_out), dtype=torch.bool)),
        test=(torch.cat((test, outliers)), flags),
        provenance=SHUTTLE.provenance(),
        licence=SHUTTLE.licence,
    )


def shuttle_table(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """All 49,097 rows [49097, 9] in the order of the source, and whether each is an outlier."""
    (data,) = SHUTTLE.load(folder)
    frame = read_frame(data)
    classes = np.array(frame.pop("Class"))
    kept = classes != "High"
    return np.stack(list(frame.values()), axis=1)[kept].astype(np.float32), classes[kept] != "Rad.Flow"


def toy_images(count: int = 600, seed: int = 0) -> Data:
    """A stand-in for Fashion-MNIST that needs no download: class k is a bright stripe at its own height, in noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    images = random.integers(0, 40, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 2 : 2 * label + 8, 6:22] += np.uint8(180)
    tensors = (_images(images), torch.from_numpy(labels))
    train, held_out, test = (tuple(tensor[start::3] for tensor in tensors) for start in range(3))
    return Data(train, held_out, test, provenance={}, licence="CC0 (generated)")


def toy_table(count: int = 600, seed: int = 0) -> Data:
    """A stand-in for Shuttle that needs no download: rows near a line, and outliers far from it."""
    random = torch.Generator().manual_seed(seed)
    place, noise = torch.randn(count, 1, generator=random), torch.randn(count, len(SHUTTLE_COLUMNS), generator=random)
    rows = torch.round(20 * place + 5 * noise)
    outlier = torch.arange(count // 3) >= count // 3 - 20
    parts = [rows[start::3] for start in range(3)]
    parts[2][outlier] += 200
    normal = torch.zeros(count // 3, dtype=torch.bool)
    return Data((parts[0], normal), (parts[1], normal), (parts[2], outlier), provenance={}, licence="CC0 (generated)")


def read_idx(data: bytes) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes (LeCun's format: two zeros, type 8, rank, big-endian sizes)."""
    rank = data[3]
    shape = np.frombuffer(data, ">u4", count=rank, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape.tolist())


def _images(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images[:, None].copy())


def _shuffled(count: int) -> Tensor:
    # One split for everybody, whatever the seed of a training.
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))
