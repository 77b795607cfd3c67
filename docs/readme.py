"""`python -m docs.readme`: writes docs/settings.md, and the README's tree, model table and comparison of families."""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from model_store.store import DEFAULT_ROOT, Model, Store
from service.settings import Settings

ROOT = Path(__file__).parent.parent
COMPARISON = ROOT / "docs" / "comparison.md"
SETTINGS = ROOT / "docs" / "settings.md"
SETTINGS_HEAD = """# Settings

`python -m docs.readme` writes this page from [service/settings.py](../service/settings.py).

Every process reads its settings once, at its start: from flags (`python -m service --port 8080 --models flow-shuttle`
names every setting so) and from environment variables. A list is names with commas between them, or JSON:
`FIVEFOLD_MODELS=flow-shuttle,vae-fashion@1`. A mapping is JSON, a truth value `true` or `false`. In a container, a file
in `/run/secrets` that has a variable's name in lower case (`fivefold_redis_url`) stands for the variable. A value that
cannot work, and a variable that is no setting, end the process with exit code 2 and a line that names it.

| variable | default | meaning |
|---|---|---|
"""
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


def settings_page() -> str:
    """docs/settings.md: every setting with its default and its meaning."""
    rows = (_setting(name, field) for name, field in Settings.model_fields.items())
    return SETTINGS_HEAD + "".join(f"{row}\n" for row in rows)


def _setting(name: str, field: FieldInfo) -> str:
    """A row of the table. Raises ValueError for a setting without a description."""
    if field.description is None:
        raise ValueError(f"the setting {name} has no description")
    return f"| `FIVEFOLD_{name.upper()}` | {_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    """As a variable would have it; what depends on the machine, in words."""
    if field.default_factory is not None:
        return field.default_factory.__doc__ or ""
    if field.default is None:
        return "none"
    if isinstance(field.default, Path):
        return f"`{field.default.relative_to(ROOT)}`"
    return f"`{field.default if isinstance(field.default, str) else json.dumps(field.default)}`"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(render(path.read_text()))
    SETTINGS.write_text(settings_page())
    sys.stdout.write(f"{path.name} and {SETTINGS.relative_to(ROOT)} are up to date\n")
