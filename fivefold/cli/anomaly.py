"""`fivefold anomaly`: how strange each picture is, as a report to look at and as a table."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer

from fivefold.cli.bulk import pictures_answered
from fivefold.cli.options import DEFAULT_URL, Json, ModelName, Seed, Url, connect
from fivefold.cli.pictures import picture_files
from fivefold.cli.records import written
from fivefold.cli.report import Entry, Report
from fivefold.cli.reporting import examples, finish, note, progress
from fivefold.cli.served import card_of, reference
from fivefold.images import Image
from fivefold.operation import FailedItem
from fivefold.vae import ANOMALY, Score, VaeAnomaly

COLUMNS = ("input", "seed", "score_nats", "p_value", "anomalous", "threshold_nats", "error")


def register(app: typer.Typer) -> None:
    shown = examples(
        "fivefold anomaly photos/ --out report.html --csv scores.csv",
        "fivefold anomaly photos/ --alpha 0.01 --json",
        "fivefold anomaly photo.png",
    )
    app.command(epilog=shown)(anomaly)


def anomaly(
    source: Annotated[Path, typer.Argument(help="A picture of the model's size, or a folder of pictures.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A web page to look at, in one file.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Where the scores go; omitted: stdout.")] = None,
    alpha: Annotated[float, typer.Option(help="The rate of false alarms to live with, between 0 and 1.")] = 0.05,
    score: Annotated[Score, typer.Option(help="What is strange: all, the picture, or its latents.")] = "elbo",
    model: ModelName = None,
    seed: Seed = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Score how unlike its training data a VAE finds each picture, with p-values and heat maps.

    Of normal pictures, about the share --alpha is called anomalous. A picture that cannot be read harms no other.
    """
    files = picture_files(source)
    with connect(url) as client:
        fields = {"model": reference(card_of(client, "vae", model)), "alpha": alpha, "score": score}
        failed = 0
        with (
            TemporaryFile() as rows,
            written(table, COLUMNS, as_json=as_json) as write,
            progress("scoring", len(files)) as report,
        ):
            page = Report(rows)
            for done, (file, found) in enumerate(pictures_answered(client, ANOMALY, files, fields, seed or 0), 1):
                failed += isinstance(found, FailedItem)
                write(_record(file, found))
                page.add(_entry(file, found))
                report(done)
            if out is not None:
                page.write(out, f"Anomalies in {source}", fields)
                note(f"{out}: {page.anomalous} of {page.total} pictures are anomalous")
    finish(failed, len(files), "pictures")


def _record(file: Path, found: VaeAnomaly | FailedItem) -> dict[str, Any]:
    if isinstance(found, FailedItem):
        return {"input": str(file), "error": f"{found.error.code}: {found.error.message}"}
    return {"input": str(file), **found.model_dump(include=set(COLUMNS))}


def _entry(file: Path, found: VaeAnomaly | FailedItem) -> Entry:
    if isinstance(found, FailedItem):
        return Entry(file, error=f"{found.error.code}: {found.error.message}")
    return Entry(
        file,
        pictures=(Image.open(file), *([found.heat_map] if found.heat_map else [])),
        score_nats=found.score_nats,
        p_value=found.p_value,
        anomalous=found.anomalous,
    )
