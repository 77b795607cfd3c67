"""`fivefold jobs` and `fivefold job`: what was asked for with `Prefer: respond-async`, and its results."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fivefold.cli.options import DEFAULT_URL, Json, Output, Url, connect
from fivefold.cli.reporting import examples, note, print_table, progress
from fivefold.client import Client
from fivefold.errors import InvalidInput, NotFound
from fivefold.handles import JobHandle
from fivefold.jobs import JobDocument
from fivefold.operation import APNG_TYPE, CSV_TYPE, NPY_TYPE, PNG_TYPE

MEDIA_TYPES = {".npy": NPY_TYPE, ".png": PNG_TYPE, ".apng": APNG_TYPE, ".csv": CSV_TYPE}
SUFFIXES = (".json", *MEDIA_TYPES)
REFRESH_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("fivefold jobs", "fivefold jobs --json"))(jobs)
    app.command(epilog=examples("fivefold job", "fivefold job --follow -o result.json", "fivefold job --cancel"))(job)


def jobs(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List your jobs, newest first, until the service forgets them."""
    table = Table("job", "operation", "state", "done", "submitted", box=None, pad_edge=False)
    with connect(url) as client:
        for one in client.jobs():
            if as_json:
                typer.echo(one.model_dump_json(exclude_none=True))
            submitted = one.submitted_at.astimezone().isoformat(" ", "seconds")
            table.add_row(one.id, one.operation, one.state, f"{one.progress:.0%}", submitted)
    if not as_json:
        print_table(table)


def job(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A job; omitted: the newest.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait until it has ended.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Take it from the queue, or from the device.")] = False,
    output: Output = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show a job, wait for it, cancel it, or save its result as the suffix of -o says.

    Whoever follows a job may leave: it goes on. What was cut off is resumed where it was.
    """
    if output is not None and output.suffix.lower() not in SUFFIXES:
        raise InvalidInput(f"suffix {output.suffix!r} given: name a file that ends in {', '.join(SUFFIXES)}")
    with connect(url) as client:
        handle = client.job(job_id or _newest(client))
        if cancel:
            handle.cancel()
        if follow:
            _follow(handle)
        if output is not None:
            _save(handle, output)
        else:
            _show(handle.status(), as_json=as_json)


def _newest(client: Client) -> str:
    for one in client.jobs():
        return one.id
    raise NotFound("there are no jobs: submit one with `prefer: respond-async`")


def _follow(handle: JobHandle[Any, Any]) -> None:
    """Until it has ended. Raises what it ended with."""
    with progress(handle.id, 1.0) as report, handle.events() as events:
        asked_at = float("-inf")
        for _ in events:
            if time.monotonic() - asked_at > REFRESH_SECONDS:
                report(handle.status().progress)
                asked_at = time.monotonic()


def _save(handle: JobHandle[Any, Any], output: Path) -> None:
    """Raises NotReady for a job that has not ended."""
    if (media_type := MEDIA_TYPES.get(output.suffix.lower())) is not None:
        output.write_bytes(handle.raw(media_type).content)
    else:
        output.write_text(json.dumps(handle.wait().model_dump(mode="json", by_alias=True)) + "\n", encoding="utf-8")
    note(f"{output}: the result of {handle.id}")


def _show(found: JobDocument, *, as_json: bool) -> None:
    if as_json:
        typer.echo(found.model_dump_json(exclude_none=True))
        return
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    for name, value in found.model_dump(mode="json", exclude_none=True, exclude={"result", "error"}).items():
        table.add_row(name, str(value))
    if found.error is not None:
        table.add_row("error", f"{found.error.code}: {found.error.message}")
    print_table(table)
