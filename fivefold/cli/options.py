"""The options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from fivefold.client import BASE_URL, Client
from fivefold.csv_dialect import CsvOptions
from fivefold.errors import InvalidInput
from fivefold.parsing import built

Url = Annotated[str, typer.Option(envvar="FIVEFOLD_URL", help="Where the service listens.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs; several records are one a line.")]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**53 - 1, help="The same seed gives the same bytes; what is drawn has seed + its place."),
]
ModelName = Annotated[
    str | None, typer.Option("--model", help='"name" or "name@version"; see `fivefold models`.', show_default=False)
]
ClassName = Annotated[
    str | None, typer.Option("--class", help='A class of the model, or an unambiguous part: "boot" is "ankle-boot".')
]
Header = Annotated[str, typer.Option(help="Whether the first line of a table holds names: auto, yes or no.")]
Delimiter = Annotated[str, typer.Option(help='What stands between two cells: auto, ",", ";", "|" or tab.')]
Decimal = Annotated[str, typer.Option(help='What stands before the fraction of a number: auto, "." or ",".')]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where the result goes.", show_default=False)]

DEFAULT_URL = BASE_URL


def csv_options(header: str, delimiter: str, decimal: str) -> CsvOptions:
    """How a table is to be read. Raises InvalidInput for what is not one of the choices."""
    return built(CsvOptions, {"header": header, "delimiter": delimiter, "decimal": decimal})


def connect(url: str) -> Client:
    """A client of the service at `url`; close it. Raises InvalidInput for an address without a scheme.

    The key is FIVEFOLD_API_KEY: an option would show it to everybody who lists the machine's processes.
    """
    try:
        return Client(url)
    except ValueError as error:
        raise InvalidInput(f"--url: {error}") from error
