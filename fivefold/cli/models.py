"""`fivefold models` and `fivefold ready`: what is served now."""

import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from fivefold.cards import ModelCard
from fivefold.cli.options import DEFAULT_URL, Json, Url, connect
from fivefold.cli.reporting import examples, print_table
from fivefold.cli.served import shape_of
from fivefold.errors import NotReady

COLUMNS = ("model", "family", "default", "data", "operations", "exactness")


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("fivefold models", "fivefold models flow-shuttle", "fivefold models --json"))(models)
    app.command(epilog=examples("fivefold ready && echo go", "fivefold ready --url http://127.0.0.1:9000"))(ready)


def models(
    name: Annotated[str | None, typer.Argument(help="One model in full: its classes, columns, measures.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List the models that are served now."""
    with connect(url) as client:
        cards = client.models() if name is None else [client.model(name)]
    if as_json:
        shown = [card.model_dump(mode="json") for card in cards]
        typer.echo(json.dumps(shown if name is None else shown[0], indent=2))
    else:
        print_table(_table(cards) if name is None else _details(cards[0]))


def ready(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Exit with 0 when every required model is served, with 1 until then."""
    with connect(url) as client:
        is_ready = client.ready()
    if as_json:
        typer.echo(json.dumps({"ready": is_ready}))
    if not is_ready:
        raise NotReady(f"{url} is not ready: start the service with `python -m service`, or wait and ask again")
    if not as_json:
        typer.echo("ready")


def _table(cards: list[ModelCard]) -> Table:
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for card in cards:
        name, default = f"{card.name}@{card.version}", "yes" if card.default else ""
        operations = ", ".join(path.rpartition("/")[2] for path in card.operations)
        table.add_row(name, card.family, default, _data(card), operations, card.exactness)
    return table


def _data(card: ModelCard) -> str:
    """What one item of the model is."""
    shape = shape_of(card)
    if len(shape) == 3:
        classes = card.parameters.get("classes")
        return f"{shape[2]} x {shape[1]} picture" + (f", {len(classes)} classes" if classes else "")
    return f"row of {shape[0]} numbers" if shape else "text"


def _details(card: ModelCard) -> Table:
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    for name, text in _facts(card):
        table.add_row(name, text)
    return table


def _facts(card: ModelCard) -> Iterator[tuple[str, str]]:
    for name, value in card.model_dump(mode="json", exclude={"metrics", "parameters"}).items():
        yield name, ", ".join(value) if isinstance(value, list) else str(value)
    for name, number in card.metrics.items():
        yield name, f"{number:.4g}"
    for name, value in card.parameters.items():
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
