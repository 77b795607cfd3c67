"""The toys of the recipes, trained by the command line."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from model_store.store import Model, Store
from training.__main__ import RECIPES, main
from training.loop import train as train_network

Trained = Callable[[str], Path]
"""The name of a recipe -> the folder in which its toy was trained, once for all tests."""


def train(name: str, folder: Path) -> int:
    return main([name, "--quick", "--runs", str(folder / "runs"), "--data", str(folder / "data")])


def published(name: str, folder: Path) -> Model:
    return Store(folder / "runs" / "toys").resolve(name)


def network(name: str, folder: Path) -> nn.Module:
    """The trained network, from the checkpoint of the toy."""
    (recipe,) = (recipe.quick() for recipe in RECIPES if recipe.name == name)
    return train_network(recipe, recipe.load(folder / "data"), folder / "runs" / f"{name}-quick").network
