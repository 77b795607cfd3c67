"""No pattern that client data meets can backtrack: regexploit looks at each that a module holds."""

import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterator

import fivefold
import model_store
import service

with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # it imports sre_constants
    from regexploit.ast.sre import SreOpParser
    from regexploit.redos import find


def patterns() -> Iterator[str]:
    """Of every module of the service and of what it imports of ours."""
    for package in (fivefold, model_store, service):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__") and "torchscript" not in found.name:
                module = importlib.import_module(found.name)
                yield from (value.pattern for value in vars(module).values() if isinstance(value, re.Pattern))


def backtracks(pattern: str | bytes) -> bool:
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    return any(True for _ in find(SreOpParser().parse_sre(text)))


def test_a_pattern_that_backtracks_is_found() -> None:
    assert backtracks(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*x\d*\d*\d*y")
    assert not backtracks(r"[a-z]{1,64}")


def test_no_pattern_of_the_service_backtracks() -> None:
    assert [pattern for pattern in patterns() if backtracks(pattern)] == []
