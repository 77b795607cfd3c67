"""A short form of every attack of the table, on one service for each set of settings."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.attack.__main__ import SCENARIOS
from tests.attack.scenario import Scenario, measure
from tests.attack.target import Target, attacked

SHORT = 0.1
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")


@pytest.fixture(scope="module")
def target_of() -> Iterator[Callable[[Scenario], Target]]:
    with ExitStack() as stack:
        targets: dict[str, Target] = {}

        def target_of(scenario: Scenario) -> Target:
            key = repr(sorted(scenario.settings.items()))
            if key not in targets:
                targets[key] = stack.enter_context(attacked(**scenario.settings))
            return targets[key]

        yield target_of


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_attack_stays_within_its_bounds(scenario: Scenario, target_of: Callable[[Scenario], Target]) -> None:
    assert list(measure(scenario, target_of(scenario), SHORT).faults) == []
