"""`python -m training RECIPE | all | list | evaluate`: fetch data, train, measure, export, publish, compare."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from model_store.store import DEFAULT_ROOT, Model, Store, StoreError
from training.checks import ExportRefused
from training.comparison.command import comparison, subjects
from training.comparison.sets import Sets
from training.diffusion.recipe import DiffusionRecipe
from training.evaluate import CLASSIFIER, CLASSIFIER_ROOT
from training.fetch import DataError
from training.flow.recipe import FashionRecipe, ShuttleRecipe
from training.gan.recipe import GanRecipe, MinimaxRecipe
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
    GanRecipe(),
    MinimaxRecipe(),
)

COMPARISON = Path("docs/comparison.md")
FEWEST_SAMPLES, MOST_SAMPLES = 20, 10_000


def run(recipe: Recipe, arguments: argparse.Namespace) -> Model:
    """One recipe from data to a published model."""
    folder = arguments.runs / (f"{recipe.name}-quick" if arguments.quick else recipe.name)
    data = recipe.load(arguments.data)
    trained = train(recipe, data, folder)
    facts = Run(
        name=recipe.name,
        version=arguments.version,
        command=f"python -m training {recipe.name} --seed {recipe.config.seed}" + _quick(arguments),
        seed=recipe.config.seed,
        seconds=trained.seconds,
        data=data.provenance,
        licence=data.licence,
    )
    shipped = CLASSIFIER_ROOT if recipe.name == CLASSIFIER else DEFAULT_ROOT
    return publish(facts, recipe.finish(trained.network, data), _store(shipped, arguments))


def compare(arguments: argparse.Namespace, console: Console) -> None:
    """The figures of every model in the store, printed and written."""
    store, sets = _store(DEFAULT_ROOT, arguments), Sets(arguments.data, arguments.samples, toy=arguments.quick)
    path, seed = arguments.out or (store.root / COMPARISON.name if arguments.quick else COMPARISON), arguments.seed or 0
    command = f"python -m training evaluate --samples {arguments.samples} --seed {seed}" + _quick(arguments)
    models = subjects(store)
    if not models:
        raise StoreError(f"no models in {store.root}: train one, or name another --store")
    text = comparison(models, sets, seed, command, console.log).markdown()
    path.write_text(text)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written: {path}")


def _quick(arguments: argparse.Namespace) -> str:
    return " --quick" if arguments.quick else ""


def _store(shipped: Path, arguments: argparse.Namespace) -> Store:
    """The store to work in: toys never go beside the models that ship."""
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
    parser.add_argument("recipe", choices=[*(recipe.name for recipe in RECIPES), "all", "list", "evaluate"])
    parser.add_argument("--quick", action="store_true", help="a toy of the recipe, in under a minute")
    parser.add_argument("--seed", type=int, help="instead of the recipe's own")
    parser.add_argument("--version", default="1", help="the version to publish")
    parser.add_argument("--store", type=Path, help="where to publish (toys: <runs>/toys)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints and TensorBoard logs")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="downloads, or upstream files put there by hand"
    )
    parser.add_argument("--samples", type=_samples, default=MOST_SAMPLES, help="evaluate: images per figure")
    parser.add_argument("--out", type=Path, help=f"evaluate: where to write ({COMPARISON}; toys: into their store)")
    return parser


def _samples(text: str) -> int:
    count = int(text)
    if not FEWEST_SAMPLES <= count <= MOST_SAMPLES:
        raise argparse.ArgumentTypeError(
            f"{count} samples asked, the floor needs as many test images: ask for {FEWEST_SAMPLES} to {MOST_SAMPLES}"
        )
    return count


def main(argv: list[str] | None = None) -> int:
    arguments, console = _parser().parse_args(argv), Console()
    if arguments.recipe == "list":
        for recipe in RECIPES:
            console.print(f"{recipe.name}: {recipe.config.steps} steps of {recipe.config.batch_size} rows")
        return 0
    try:
        if arguments.recipe == "evaluate":
            compare(arguments, console)
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
