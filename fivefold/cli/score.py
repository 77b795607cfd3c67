"""`fivefold score`: the exact log-likelihood of every row of a CSV file of any length."""

import csv
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from fivefold.cards import ModelCard
from fivefold.cli.bulk import answered, batches
from fivefold.cli.options import DEFAULT_URL, Json, ModelName, Output, Seed, Url, connect
from fivefold.cli.records import written
from fivefold.cli.reporting import examples, finish, progress
from fivefold.cli.served import card_of, reference, width_of
from fivefold.client import Client
from fivefold.errors import InvalidInput
from fivefold.flow import LOG_LIKELIHOOD, FlowLogLikelihoodRequest
from fivefold.operation import FailedItem

BATCH = 512
SCORES = ("log_prob_nats", "bits_per_dim", "base_log_prob_nats", "round_trip_error")
COLUMNS = ("row", "seed", *SCORES, "error")


def register(app: typer.Typer) -> None:
    shown = examples(
        "fivefold score data.csv -o scores.csv",
        "fivefold score data.csv --model flow-shuttle --json -o scores.jsonl",
        "zcat data.csv.gz | fivefold score - > scores.csv",
    )
    app.command(epilog=shown)(score)


def score(
    data: Annotated[Path, typer.Argument(help="CSV, one row of numbers a line, with or without a header; - is stdin.")],
    output: Output = None,
    model: ModelName = None,
    seed: Seed = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Score each row of a table by its exact log-likelihood under a normalizing flow.

    Higher is likelier. Rows stream through: memory stays constant however long the file is. A row that cannot be
    scored gets an error in its place. Without --model, the flow that has as many columns as the file is taken.
    """
    with connect(url) as client, _opened(data) as file:
        lines = _lines(file)
        first = next(lines, None)
        if first is None:
            raise InvalidInput(f"0 rows in {data}, 1 or more needed: write one row of numbers a line")
        card, failed, total = _card(client, model, len(first)), 0, 0
        size = data.stat().st_size if data.is_file() else 0
        with written(output, COLUMNS, as_json=as_json) as write, progress("scoring", size) as report:
            for record in _records(client, reference(card), chain([first], lines), seed or 0):
                write(record)
                failed, total = failed + ("error" in record), total + 1
                report(file.buffer.tell() if size else 0)
    finish(failed, total, "rows")


@contextmanager
def _opened(data: Path) -> Iterator[TextIO]:
    if str(data) == "-":
        yield TextIOWrapper(sys.stdin.buffer, "utf-8-sig", errors="replace", newline="")
        return
    with data.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        yield file


def _lines(file: TextIO) -> Iterator[list[str]]:
    """The cells of each line that has any, without a header. Raises InvalidInput."""
    try:
        rows = (line for line in csv.reader(file) if line)
        first = next(rows, [])
        if any(_number(cell) is not None for cell in first):
            yield first
        yield from rows
    except csv.Error as error:
        raise InvalidInput(f"not CSV: {error}: write one row of numbers a line") from error


def _number(cell: str) -> float | None:
    """The number of a cell, or None where it is no finite one."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _records(client: Client, model: str, lines: Iterable[list[str]], seed: int) -> Iterator[dict[str, Any]]:
    """One record per line; row i is scored with seed + i."""
    for number, batch in enumerate(batches(lines, BATCH)):
        yield from _scored(client, model, batch, number * BATCH, seed)


def _card(client: Client, model: str | None, width: int) -> ModelCard:
    """The named flow, or the one whose rows have `width` numbers. Raises InvalidInput where the widths differ."""
    flows = [card_of(client, "flow", model)] if model else [card for card in client.models() if card.family == "flow"]
    for card in flows:
        if width_of(card) == width:
            return card
    known = ", ".join(f"{card.name} has {width_of(card)}" for card in flows) or "no flow is served"
    raise InvalidInput(f"{width} columns given, {known}: give rows of a served model's width")


def _scored(client: Client, model: str, batch: list[list[str]], start: int, seed: int) -> Iterator[dict[str, Any]]:
    rows = [[_number(cell) for cell in line] for line in batch]
    readable = [index for index, row in enumerate(rows) if None not in row]
    items: list[Any] = []
    if readable:
        seeds = [seed + start + index for index in readable]
        given = {"model": model, "rows": [rows[index] for index in readable], "seeds": seeds, "on_error": "skip"}
        items = answered(client, LOG_LIKELIHOOD, FlowLogLikelihoodRequest.model_validate(given))
    by_index = dict(zip(readable, items, strict=True))
    for index, line in enumerate(batch):
        yield {"row": start + index + 1, **_fields(by_index.get(index), line)}


def _fields(item: Any, line: list[str]) -> dict[str, Any]:
    if item is None:
        column, cell = next((place, cell) for place, cell in enumerate(line) if _number(cell) is None)
        return {"error": f"invalid_input: column {column + 1} is {cell[:60]!r}, a finite number expected"}
    if isinstance(item, FailedItem):
        return {"error": f"{item.error.code}: {item.error.message}"}
    return {"seed": item.seed, **{name: getattr(item, name) for name in SCORES}}
