"""`fivefold anomaly`: how strange each picture or row is, as a report to look at and as a table."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer

from fivefold.cards import ModelCard
from fivefold.cli.bulk import pictures_answered, reason
from fivefold.cli.options import (
    DEFAULT_URL,
    Decimal,
    Delimiter,
    Header,
    Json,
    ModelName,
    Seed,
    Url,
    connect,
    csv_options,
)
from fivefold.cli.pictures import picture_files
from fivefold.cli.records import written
from fivefold.cli.report import Entry, Report
from fivefold.cli.reporting import examples, finish, note, progress
from fivefold.cli.served import card_of, reference
from fivefold.cli.tables import Table, is_table, opened, rows_answered
from fivefold.client import Client
from fivefold.images import Image
from fivefold.operation import FailedItem
from fivefold.vae import ANOMALY, Score, VaeAnomaly

Found = tuple[float, str, Path | None, VaeAnomaly | FailedItem]
"""The share that is done, the input's name, its picture where it is one, and what was found."""
COLUMNS = ("input", "seed", "score_nats", "p_value", "anomalous", "threshold_nats", "error")


def register(app: typer.Typer) -> None:
    shown = examples(
        "fivefold anomaly photos/ --out report.html --csv scores.csv",
        "fivefold anomaly photos/ --alpha 0.01 --json",
        "fivefold anomaly data.csv --score reconstruction -o report.html --csv scores.csv",
    )
    app.command(epilog=shown)(anomaly)


def anomaly(
    source: Annotated[
        Path, typer.Argument(help="A picture of the model's size, a folder of them, or CSV; - is CSV from stdin.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A web page to look at, in one file.")] = None,
    scores: Annotated[Path | None, typer.Option("--csv", help="Where the scores go; omitted: stdout.")] = None,
    alpha: Annotated[float, typer.Option(help="The rate of false alarms to live with, between 0 and 1.")] = 0.05,
    score: Annotated[Score, typer.Option(help="What is strange: all, the picture, or its latents.")] = "elbo",
    model: ModelName = None,
    seed: Seed = None,
    header: Header = "auto",
    delimiter: Delimiter = "auto",
    decimal: Decimal = "auto",
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Score how unlike its training data a VAE finds each picture or row, with p-values and heat maps.

    Of normal data, about the share --alpha is called anomalous. An input that cannot be read harms no other.
    Without --model, rows go to the VAE that has as many columns.
    """
    options: dict[str, Any] = {"alpha": alpha, "score": score}
    with connect(url) as client, ExitStack() as stack:
        written_as = csv_options(header, delimiter, decimal)
        table = stack.enter_context(opened(source, written_as)) if is_table(source) else None
        card = card_of(client, "vae", model, width=table.width if table else None)
        options["model"] = reference(card)
        found = (
            _rows(client, table, card, options, seed or 0)
            if table
            else _pictures(client, picture_files(source), options, seed or 0)
        )
        page = Report(stack.enter_context(TemporaryFile()))
        write = stack.enter_context(written(scores, COLUMNS, as_json=as_json))
        report = stack.enter_context(progress("scoring", 1.0))
        failed = 0
        for share, name, picture, item in found:
            failed += isinstance(item, FailedItem)
            write({"input": name, **_fields(item)})
            page.add(_entry(name, picture, item))
            report(share)
        if out is not None:
            page.write(out, f"Anomalies in {source}", options)
            note(f"{out}: {page.anomalous} of {page.total} are anomalous")
    finish(failed, page.total, "inputs")


def _pictures(client: Client, files: list[Path], options: dict[str, Any], seed: int) -> Iterator[Found]:
    for done, (file, item) in enumerate(pictures_answered(client, ANOMALY, files, options, seed), 1):
        yield done / len(files), str(file), file, item


def _rows(client: Client, table: Table, card: ModelCard, options: dict[str, Any], seed: int) -> Iterator[Found]:
    for number, item in enumerate(rows_answered(client, ANOMALY, table.rows(card), options, seed), 1):
        yield table.share_read(), f"row {number}", None, item


def _fields(item: VaeAnomaly | FailedItem) -> dict[str, Any]:
    if isinstance(item, FailedItem):
        return {"error": reason(item)}
    return item.model_dump(include=set(COLUMNS))


def _entry(name: str, file: Path | None, item: VaeAnomaly | FailedItem) -> Entry:
    if isinstance(item, FailedItem):
        return Entry(name, error=reason(item))
    pictures = [Image.open(file)] if file is not None else []
    return Entry(
        name,
        pictures=(*pictures, *([item.heat_map] if item.heat_map else [])),
        score_nats=item.score_nats,
        p_value=item.p_value,
        anomalous=item.anomalous,
    )
