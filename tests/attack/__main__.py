"""`python -m tests.attack [WORD]`: prints the table of all attacks, or of those whose kind or name has the word."""

import sys
from collections.abc import Iterable, Sequence

from tests.attack import cross_site, headers, kept_bytes
from tests.attack.scenario import Measured, Scenario, measure
from tests.attack.target import attacked

SCENARIOS: Sequence[Scenario] = [*cross_site.SCENARIOS, *headers.SCENARIOS, *kept_bytes.SCENARIOS]
COLUMNS = ("kind", "attack", "answers", "sent MB", "seconds", "peak memory +MB", "slowest liveness s")


def row(measured: Measured) -> str:
    """Of the table."""
    statuses = ", ".join(f"{count} x {status}" for status, count in measured.outcome.statuses.items())
    figures = (
        f"{measured.outcome.sent_bytes / 1e6:.1f}",
        f"{measured.seconds:.1f}",
        f"{measured.peak_growth_bytes / 1e6:.0f}",
        f"{measured.slowest_liveness_seconds:.2f}",
    )
    return line((measured.scenario.kind, measured.scenario.name, statuses, *figures))


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def run(scenarios: Iterable[Scenario], scale: float = 1.0) -> Iterable[Measured]:
    """Each against a service of its own: what one attack leaves is not counted for the next."""
    for scenario in scenarios:
        with attacked(**scenario.settings) as target:
            yield measure(scenario, target, scale)


def main(word: str = "") -> int:
    print(line(COLUMNS), line("---" for _ in COLUMNS), sep="\n", flush=True)
    faults = []
    for measured in run(one for one in SCENARIOS if word in f"{one.kind} {one.name}"):
        print(row(measured), flush=True)
        faults += [f"{measured.scenario.name}: {fault}" for fault in measured.faults]
    print("\n".join(faults), file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
