"""`python -m tests.answers record [--only PATTERN ...] | compare [--base COMMIT]`: record answers, compare two trees.

`record` writes the files that the tests compare with. `compare` runs the service of another commit and that of this
tree side by side: for a machine of another scope than the recorded one.
"""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from tests.answers import record
from tests.answers.requests import MODELS, requests
from tests.answers.runner import Records, differences, records_of, scope_of
from tests.answers.services import ROOT, checkout, git, serving
from tests.answers.wire import HttpRequest

SERVED = ("fivefold", "model_store", "service")  # what decides the answers


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.answers", description=__doc__)
    parser.add_argument("command", choices=["record", "compare"])
    parser.add_argument("--base", metavar="COMMIT", help="what to compare with; omitted: the commit of the record")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="record only requests named so")
    asked = parser.parse_args()
    return (
        write_record(asked.only) if asked.command == "record" else compare(asked.base or record.read(MODELS[0]).commit)
    )


def write_record(patterns: Sequence[str]) -> int:
    """Ask twice, each time a service that has just started; write what both answered alike.

    Requests whose names fit no pattern keep their record.
    """
    asked = [request for request in requests() if any(fnmatch(request.name, pattern) for pattern in patterns)]
    (scope, answers), (_, again) = _answers(ROOT, asked), _answers(ROOT, asked)
    if lines := differences(answers, again):
        return _report(lines)
    commit = git("log", "-1", "--format=%H", "--", *SERVED)
    for model in {request.model for request in asked}:
        names = [request.name for request in requests() if request.model == model]
        kept = {} if set(names) <= answers.keys() else record.read(model).answers
        record.write(model, record.Recorded(commit, scope, {name: (kept | answers)[name] for name in names}))
    return 0


def compare(base: str) -> int:
    """Print each request that the commit `base` and this tree answer differently."""
    with checkout(base) as tree, serving(tree) as old, serving(ROOT) as new:
        return _report(differences(records_of(old, requests()), records_of(new, requests())))


def _answers(tree: Path, asked: Sequence[HttpRequest]) -> tuple[str, Records]:
    with serving(tree) as url:
        return scope_of(url), records_of(url, asked)


def _report(lines: list[str]) -> int:
    """The exit code."""
    for line in lines:
        print(line)
    print(f"{len(lines)} of {len(requests())} requests are answered differently")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
