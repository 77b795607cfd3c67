"""`fivefold queue`: what waits and who works, dead jobs and draining, for operators."""

from typing import Annotated

import typer
from rich.table import Table

from fivefold.cli.options import DEFAULT_URL, Json, Url, connect
from fivefold.cli.reporting import examples, note, print_table
from fivefold.jobs import QueueDocument


def register(app: typer.Typer) -> None:
    queue = typer.Typer(rich_markup_mode="markdown")
    shown = examples("fivefold queue", "fivefold queue --json", "fivefold queue dead")
    queue.callback(invoke_without_command=True, epilog=shown)(show)
    queue.command(epilog=examples("fivefold queue dead", "fivefold queue dead --json"))(dead)
    queue.command(epilog=examples("fivefold queue replay flow-shuttle@1-0123456789abcdef0123456789abcdef"))(replay)
    queue.command(epilog=examples("fivefold queue drain", "fivefold queue drain 1a2b3c4d"))(drain)
    app.add_typer(queue, name="queue")


def show(context: typer.Context, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show what waits and runs, every worker, and how many jobs were given up. Needs the scope admin."""
    if context.invoked_subcommand is not None:
        return
    with connect(url) as client:
        found = client.admin.queue()
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_table(_models(found))
        print_table(_workers(found))
        typer.echo(f"{found.dead_jobs} dead jobs" + (": see `fivefold queue dead`" if found.dead_jobs else ""))


def dead(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List the jobs that were given up, and why."""
    table = Table("job", "tenant", "operation", "rows", "attempts", "reason", box=None, pad_edge=False)
    with connect(url) as client:
        for one in client.admin.dead():
            if as_json:
                typer.echo(one.model_dump_json())
            table.add_row(one.id, one.tenant, one.operation, str(one.rows), str(one.attempts), one.reason)
    if not as_json:
        print_table(table)


def replay(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="A job of `fivefold queue dead`.")],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Queue a dead job again."""
    with connect(url) as client:
        found = client.admin.replay(job_id)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        note(f"{found.id} is queued again")


def drain(
    worker: Annotated[str | None, typer.Argument(help="A worker of `fivefold queue`; omitted: all.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Let a worker, or all of them, finish what runs and stop."""
    with connect(url) as client:
        ordered = client.admin.drain(worker)
    if as_json:
        typer.echo(ordered.model_dump_json(exclude_none=True))
    else:
        note(f"draining: {', '.join(ordered.workers) or 'no worker'}")


def _models(found: QueueDocument) -> Table:
    table = Table("model", "waiting", "running", "predicted", box=None, pad_edge=False)
    for model in found.models:
        seconds = f"{model.predicted_seconds:.3g} s"
        table.add_row(model.model, str(model.waiting_jobs), str(model.running_jobs), seconds)
    return table


def _workers(found: QueueDocument) -> Table:
    table = Table("worker", "device", "scope", "models", "rows run", "heard", box=None, pad_edge=False)
    for worker in found.workers:
        heard = f"{worker.seconds_since_heartbeat:.1f} s ago"
        table.add_row(worker.id, worker.device, worker.scope, ", ".join(worker.models), str(worker.rows_run), heard)
    return table
