"""`make chaos`: the long form of these tests; prints one table and fails where a job was lost or finished twice."""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

from chaos.proxy import MODES
from chaos.scenarios import Outcome, network_lies, server_killed, workers_killed

RECOVERY = "recovery p50 / max, s"
HEAD = "scenario", "jobs", "kills", "lost", "finished twice", "dead letters", "repeated", "worst attempts", RECOVERY
Start = Callable[[Path], Coroutine[None, None, Outcome]]


def scenarios(asked: argparse.Namespace) -> Iterator[Start]:
    """All of them; P1 and P3 as often as asked."""
    for _ in range(asked.runs):
        yield lambda folder: workers_killed(folder, asked.jobs, asked.workers)
    yield lambda folder: server_killed(folder, asked.jobs * 9 // 20, asked.workers)
    for mode in MODES:
        yield lambda folder, mode=mode: network_lies(folder, asked.jobs // 5, asked.workers, mode)  # type: ignore[misc]


def cells(outcome: Outcome) -> list[str]:
    seconds = outcome.recovery_seconds
    recovery = f"{statistics.median(seconds):.2f} / {max(seconds):.2f}" if seconds else "-"
    counts = outcome.jobs, outcome.kills, outcome.lost, outcome.twice, outcome.poison_in_dead_letter
    tries = outcome.repeated, outcome.worst_attempts
    return [outcome.scenario, *map(str, (*counts, *tries)), recovery]


def line(parts: "list[str] | tuple[str, ...]") -> str:
    return f"| {' | '.join(parts)} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=1, help="of the scenario that kills workers")
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args()
    outcomes = []
    for start in scenarios(asked):
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(asyncio.run(start(Path(folder))))
        print(line(cells(outcomes[-1])), file=sys.stderr, flush=True)
    print(f"{asked.workers} workers, {os.cpu_count()} cores, python -m chaos {' '.join(sys.argv[1:])}\n")
    print("\n".join([line(HEAD), line(["---"] * len(HEAD)), *(line(cells(outcome)) for outcome in outcomes)]))
    return 1 if any(outcome.lost or outcome.twice for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
