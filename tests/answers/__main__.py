"""`python -m tests.answers record | compare [--base COMMIT]`: record what the service answers, or compare two trees.

`record` writes the files that the tests compare with. `compare` runs the service of another commit and that of this
tree side by side: for a machine of another scope than the recorded one.
"""

import argparse
import sys
from pathlib import Path

from tests.answers import record
from tests.answers.requests import MODELS, requests
from tests.answers.runner import Records, differences, records_of, scope_of
from tests.answers.services import ROOT, checkout, git, serving

SERVED = ("fivefold", "model_store", "service")  # what decides the answers


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.answers", description=__doc__)
    parser.add_argument("command", choices=["record", "compare"])
    parser.add_argument("--base", metavar="COMMIT", help="what to compare with; omitted: the commit of the record")
    asked = parser.parse_args()
    return write_record() if asked.command == "record" else compare(asked.base or record.read(MODELS[0]).commit)


def write_record() -> int:
    """Ask twice, each time a service that has just started; write what both answered alike."""
    (scope, answers), (_, again) = _answers(ROOT), _answers(ROOT)
    if lines := differences(answers, again):
        return _report(lines)
    commit = git("log", "-1", "--format=%H", "--", *SERVED)
    for model in MODELS:
        own = {request.name: answers[request.name] for request in requests() if request.model == model}
        record.write(model, record.Recorded(commit, scope, own))
    return 0


def compare(base: str) -> int:
    """Print each request that the commit `base` and this tree answer differently."""
    with checkout(base) as tree, serving(tree) as old, serving(ROOT) as new:
        return _report(differences(records_of(old, requests()), records_of(new, requests())))


def _answers(tree: Path) -> tuple[str, Records]:
    with serving(tree) as url:
        return scope_of(url), records_of(url, requests())


def _report(lines: list[str]) -> int:
    """The exit code."""
    for line in lines:
        print(line)
    print(f"{len(lines)} of {len(requests())} requests are answered differently")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
