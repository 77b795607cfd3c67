"""`python -m training RECIPE | all | list`: fetch data, train, measure, export, publish."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from model_store.store import DEFAULT_ROOT, Model, Store, StoreError
from training.checks import ExportRefused
from training.diffusion.recipe import DiffusionRecipe
from training.evaluate import CLASSIFIER, CLASSIFIER_ROOT
from training.fetch import DataError
from training.flow.recipe import FashionRecipe, ShuttleRecipe
from training.loop import OtherRun, Recipe, train
from training.metrics.recipe import ClassifierRecipe
from training.publish import SAMPLES, Run, publish
from training.transformer.recipe import TransformerRecipe
from training.vae.recipe import FashionVaeRecipe, ShuttleVaeRecipe

RECIPES: tuple[Recipe, ...] = (
    ClassifierRecipe(),
    DiffusionRecipe(),
    ShuttleRecipe(),
    FashionRecipe(),
    TransformerRecipe(),
    FashionVaeRecipe(),
    ShuttleVaeRecipe(),
)


def run(recipe: Recipe, arguments: argparse.Namespace) -> Model:
    """One recipe from data to a published model."""
    folder = arguments.runs / (f"{recipe.name}-quick" if arguments.quick else recipe.name)
    data = recipe.load(arguments.data)
    trained = train(recipe, data, folder)
    facts = Run(
        name=recipe.name,
        version=arguments.version,
        command=_command(recipe, quick=arguments.quick),
        seed=recipe.config.seed,
        seconds=trained.seconds,
        data=data.provenance,
        licence=data.licence,
    )
    return publish(facts, recipe.finish(trained.network, data), _store(recipe, arguments))


def _command(recipe: Recipe, *, quick: bool) -> str:
    return f"python -m training {recipe.name} --seed {recipe.config.seed}" + (" --quick" if quick else "")


def _store(recipe: Recipe, arguments: argparse.Namespace) -> Store:
    """Where to publish: toys never go beside the models that ship."""
    shipped = CLASSIFIER_ROOT if recipe.name == CLASSIFIER else DEFAULT_ROOT
    return Store(arguments.store or (arguments.runs / "toys" if arguments.quick else shipped))


def _report(console: Console, model: Model) -> None:
    table = Table("metric", "value", title=str(model.ref))
    for name, value in sorted(model.manifest.metrics.items()):
        table.add_row(name, f"{value:.6g}")
    console.print(table)
    for name, graph in model.manifest.graphs.items():
        console.print(
            f"{name}: {graph.exactness} rows, within {graph.golden_atol:g} of torch, {graph.size_bytes} bytes"
        )
    console.print(f"samples: {model.folder / SAMPLES}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("recipe", choices=[*(recipe.name for recipe in RECIPES), "all", "list"])
    parser.add_argument("--quick", action="store_true", help="a toy of the recipe, in under a minute")
    parser.add_argument("--seed", type=int, help="instead of the recipe's own")
    parser.add_argument("--version", default="1", help="the version to publish")
    parser.add_argument("--store", type=Path, help="where to publish (toys: <runs>/toys)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints and TensorBoard logs")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="downloads, or upstream files put there by hand"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments, console = _parser().parse_args(argv), Console()
    if arguments.recipe == "list":
        for recipe in RECIPES:
            console.print(f"{recipe.name}: {recipe.config.steps} steps of {recipe.config.batch_size} rows")
        return 0
    try:
        for recipe in RECIPES:
            if arguments.recipe in (recipe.name, "all"):
                _report(console, run(_adapted(recipe, arguments), arguments))
    except (DataError, ExportRefused, OtherRun, StoreError) as error:
        console.print(f"[red]{error}")
        return 1
    return 0


def _adapted(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    chosen = recipe.quick() if arguments.quick else recipe
    seed = chosen.config.seed if arguments.seed is None else arguments.seed
    return replace(chosen, config=replace(chosen.config, seed=seed))


if __name__ == "__main__":
    sys.exit(main())
