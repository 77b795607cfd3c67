"""What a person sees beside the result: errors in one line, notes and progress, all on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from fivefold.errors import FivefoldError, InvalidInput

PIPE_WIDTH = 200


class ReportingGroup(TyperGroup):
    """Turns our errors into one line and an exit code: 2 for wrong input or files, 1 for all else."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FivefoldError as error:
            note(f"{error.code}: {error.message}")
            raise typer.Exit(2 if isinstance(error, InvalidInput) else 1) from error
        except BrokenPipeError:  # the reader of our output has left, as `head` does
            raise
        except OSError as error:
            note(f"file: {error.strerror or error}: {error.filename or 'standard input or output'}")
            raise typer.Exit(2) from error


def note(text: str) -> None:
    """One line for people."""
    typer.echo(" ".join(text.split()), err=True)


def print_table(table: Table) -> None:
    """On stdout; as wide as the terminal, or as a line may be where there is none."""
    console = Console(file=sys.stdout, highlight=False)
    (console if console.is_terminal else Console(file=sys.stdout, highlight=False, width=PIPE_WIDTH)).print(table)


def finish(failed: int, total: int, noun: str) -> None:
    """Say how many items have no result, where some have none. Raises typer.Exit(1) then."""
    if failed:
        note(f"{failed} of {total} {noun} have no result: see their errors")
        raise typer.Exit(1)


@contextmanager
def progress(label: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar on stderr where that is a terminal; inside, report how much of `total` is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)


def examples(*commands: str) -> str:
    """The end of a command's help."""
    return "\n\n".join(("**Examples**", *commands))
