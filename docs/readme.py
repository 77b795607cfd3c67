"""`python -m docs.readme`: writes the README's tree from the captions, and its model table from the manifests."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from model_store.store import DEFAULT_ROOT, Model, Store

ROOT = Path(__file__).parent.parent
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
    """The shipped models: size, exactness and all that was measured of them."""
    rows = ["| model | family | size | exactness | measured |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(model) for model in Store(DEFAULT_ROOT).models())])


def _row(model: Model) -> str:
    manifest = model.manifest
    size = sum(spec.size_bytes for spec in (*manifest.graphs.values(), *manifest.files.values()))
    figures = ", ".join(f"{name} {value:.4g}" for name, value in sorted(manifest.metrics.items()))
    card = f"[{model.ref}](model_store/models/{manifest.name}/{manifest.version}/card.md)"
    return f"| {card} | {manifest.params.family} | {size / 1e6:.1f} MB | {manifest.exactness} | {figures} |"


def render(readme: str) -> str:
    """The README with its generated parts up to date."""
    for name, text in (("tree", f"```\n{tree()}\n```"), ("models", model_table())):
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)"
        escaped = text.replace("\\", r"\\")
        readme = re.sub(pattern, rf"\g<1>{escaped}\g<2>", readme, flags=re.DOTALL)
    return readme


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(render(path.read_text()))
    sys.stdout.write(f"{path.name} is up to date\n")
