"""The toys of the recipes, trained by the command line."""

from collections.abc import Callable
from pathlib import Path

from model_store.store import Model, Store
from training.__main__ import main

Trained = Callable[[str], Path]
"""The name of a recipe -> the folder in which its toy was trained, once for all tests."""


def train(name: str, folder: Path) -> int:
    return main([name, "--quick", "--runs", str(folder / "runs"), "--data", str(folder / "data")])


def published(name: str, folder: Path) -> Model:
    return Store(folder / "runs" / "toys").resolve(name)
