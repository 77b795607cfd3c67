"""`fivefold score`: the exact log-likelihood of every row of a CSV file of any length."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fivefold.cli.bulk import reason
from fivefold.cli.options import (
    DEFAULT_URL,
    Decimal,
    Delimiter,
    Header,
    Json,
    ModelName,
    Output,
    Seed,
    Url,
    connect,
    csv_options,
)
from fivefold.cli.records import written
from fivefold.cli.reporting import examples, finish, progress
from fivefold.cli.served import card_of, reference
from fivefold.cli.tables import opened, rows_answered
from fivefold.flow import LOG_LIKELIHOOD, FlowLogLikelihood
from fivefold.operation import FailedItem

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
    header: Header = "auto",
    delimiter: Delimiter = "auto",
    decimal: Decimal = "auto",
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Score each row of a table by its exact log-likelihood under a normalizing flow.

    Higher is likelier. Rows stream through: memory stays constant however long the file is. A row that cannot be
    scored gets an error in its place. Without --model, the flow that has as many columns as the file is taken.
    The names of a header may stand in any order. How the file is written is detected from its first 512 lines.
    """
    options = csv_options(header, delimiter, decimal)
    with connect(url) as client, opened(data, options) as table:
        card = card_of(client, "flow", model, width=table.width)
        rows, fields = table.rows(card), {"model": reference(card)}
        failed = total = 0
        with written(output, COLUMNS, as_json=as_json) as write, progress("scoring", 1.0) as report:
            for item in rows_answered(client, LOG_LIKELIHOOD, rows, fields, seed or 0):
                total += 1
                failed += isinstance(item, FailedItem)
                write({"row": total, **_fields(item)})
                report(table.share_read())
    finish(failed, total, "rows")


def _fields(item: FlowLogLikelihood | FailedItem) -> dict[str, Any]:
    if isinstance(item, FailedItem):
        return {"error": reason(item)}
    return item.model_dump(include={"seed", *SCORES})
