"""`python -m docs.readme`: writes the README's tree, its model table, and the comparison of the families."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from model_store.store import DEFAULT_ROOT, Model, Store

ROOT = Path(__file__).parent.parent
COMPARISON = ROOT / "docs" / "comparison.md"
# What the table quotes of a model's metrics: those that begin so. Its card has all.
HEADLINES = (
    "auroc_outliers",
    "bits_per_",
    "denoised_sigma50_psnr",
    "elbo_test_bits",
    "fd_fmnist_",
    "perplexity",
    "sample_class_accuracy",
    "vlb_test_bits",
)
ROOMS = ("fivefold", "service", "model_store", "training", "benchmarks", "docs")


def caption(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]


def tree() -> str:
    """Every module of the rooms with its caption, indented by folder."""
    return "\n".join(line for room in ROOMS for line in _lines(ROOT / room, 0))


def _lines(folder: Path, depth: int) -> Iterator[str]:
    init = folder / "__init__.py"
    yield _line(folder.name + "/", caption(init) if init.exists() else "", depth)
    modules = [path for path in sorted(folder.glob("*.py")) if path != init]
    yield from (_line(path.name, caption(path), depth + 1) for path in modules)
    for child in sorted(folder.iterdir()):
        if any(child.glob("*.py")):
            yield from _lines(child, depth + 1)


def _line(name: str, text: str, depth: int) -> str:
    return f"{'  ' * depth + name:<26} {text}".rstrip()


def model_table() -> str:
    """The shipped models: size, exactness and what was measured of them, in short."""
    rows = ["| model | family | size | exactness | measured |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(model) for model in Store(DEFAULT_ROOT).models())])


def _row(model: Model) -> str:
    manifest = model.manifest
    size = sum(spec.size_bytes for spec in (*manifest.graphs.values(), *manifest.files.values()))
    headlines = {name: value for name, value in sorted(manifest.metrics.items()) if name.startswith(HEADLINES)}
    figures = ", ".join(f"{name} {value:.4g}" for name, value in headlines.items())
    card = f"[{model.ref}](model_store/models/{manifest.name}/{manifest.version}/card.md)"
    return f"| {card} | {manifest.params.family} | {size / 1e6:.1f} MB | {manifest.exactness} | {figures} |"


def comparison(path: Path = COMPARISON) -> str:
    """What `python -m training evaluate` wrote before its first topic: the table of the five families."""
    return path.read_text().split("\n## ")[0].split("\n", maxsplit=1)[1].strip()


def render(readme: str) -> str:
    """The README with its generated parts up to date. Raises ValueError where a part has no place."""
    parts = {"tree": f"```\n{tree()}\n```", "models": model_table(), "comparison": comparison()}
    for name, text in parts.items():
        opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, rest = readme.split(opening)
        readme = f"{before}{opening}\n{text}\n{closing}{rest.split(closing)[1]}"
    return readme


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(render(path.read_text()))
    sys.stdout.write(f"{path.name} is up to date\n")
