"""One attack, what it may cost, and what it did cost."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.attack.target import ROOT, Target

REFUSED_FACTOR, JSON_FACTOR = 4.0, 12.0  # bytes of memory for each byte that is sent: NPY, CSV, refused; accepted JSON
SPARE_BYTES = 32 * 2**20
LIVENESS_SECONDS = 0.5


@dataclass
class Outcome:
    """What the attacker saw: how often each status (or word, such as "closed"), and how many bytes it sent."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    sent_bytes: int = 0

    def add(self, status: int | str, sent_bytes: int = 0) -> None:
        self.statuses[status] += 1
        self.sent_bytes += sent_bytes


@dataclass(frozen=True)
class Scenario:
    """`attack` gets the target and a scale: 1 for the table, less for the suite. `allowed` are the good statuses.

    The peak of memory may grow by `memory_factor` times the bytes that are sent, and SPARE_BYTES. `settings` are those
    of the service that is attacked.
    """

    kind: str
    name: str
    attack: Callable[[Target, float], Outcome]
    allowed: frozenset[int | str]
    memory_factor: float = REFUSED_FACTOR
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A row of the table."""

    scenario: Scenario
    outcome: Outcome
    seconds: float
    peak_growth_bytes: int
    slowest_liveness_seconds: float

    @property
    def faults(self) -> Iterable[str]:
        """What is out of bounds."""
        allowed_bytes = self.scenario.memory_factor * self.outcome.sent_bytes + SPARE_BYTES
        if wrong := set(self.outcome.statuses) - self.scenario.allowed:
            yield f"answered {', '.join(map(str, wrong))}"
        if self.peak_growth_bytes > allowed_bytes:
            yield f"{self.peak_growth_bytes / 1e6:.0f} MB of memory, {allowed_bytes / 1e6:.0f} allowed"
        if self.slowest_liveness_seconds > LIVENESS_SECONDS:
            yield f"liveness took {self.slowest_liveness_seconds:.2f} s, {LIVENESS_SECONDS:g} allowed"


def measure(scenario: Scenario, target: Target, scale: float) -> Measured:
    """Run one attack."""
    command = [sys.executable, "-m", "tests.attack.liveness", str(target.port)]
    probing = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    target.forget_peak()
    before, began = target.resident_bytes, time.perf_counter()
    try:
        outcome = scenario.attack(target, scale)
    finally:
        seconds = time.perf_counter() - began
        told, _ = probing.communicate(b"\n")
    return Measured(scenario, outcome, seconds, max(0, target.peak_bytes - before), float(told))
