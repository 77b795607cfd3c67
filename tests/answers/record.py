"""The committed record: one file a model, one line for each field of an answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.answers.runner import Records

FOLDER = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Recorded:
    """What a model answered, at which commit of the code and in which scope."""

    commit: str
    scope: str
    answers: Records


def read(model: str) -> Recorded:
    return Recorded(**json.loads((FOLDER / f"{model}.json").read_text()))


def write(model: str, recorded: Recorded) -> None:
    FOLDER.mkdir(exist_ok=True)
    answers = ",\n".join(f"{_text(name)}: {_lines(recorded.answers[name])}" for name in sorted(recorded.answers))
    text = f'{{"commit": {_text(recorded.commit)},\n"scope": {_text(recorded.scope)},\n"answers": {{\n{answers}}}}}\n'
    (FOLDER / f"{model}.json").write_text(text)


def _lines(fields: Mapping[str, Any]) -> str:
    return "{" + ",\n  ".join(f"{_text(name)}: {_value(fields[name])}" for name in sorted(fields)) + "}"


def _value(value: Any) -> str:
    """A list takes a line for each of its entries."""
    return "[" + ",\n    ".join(map(_text, value)) + "]" if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
