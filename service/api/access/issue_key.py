"""`python -m service key NAME`: makes a key, shows it once, and writes the entry by which the service knows it."""

import argparse
import hashlib
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from service.api.access.keys import ENTRIES, KEY_SCOPES, InvalidKeys, KeyEntry, entries_of


def issue(arguments: Sequence[str]) -> int:
    """Run the command: the key alone on standard output. The exit code: 2 for what cannot be an entry."""
    asked = _parser().parse_args(arguments)
    key = f"ff_{secrets.token_urlsafe(32)}"
    try:
        entry = _entry(key, asked)
        if asked.append is not None:
            append(asked.append, entry)
        else:
            print(entry.model_dump_json(exclude_none=True), file=sys.stderr)
    except InvalidKeys as error:
        print(error, file=sys.stderr)
        return 2
    print(key)
    return 0


def append(path: Path, entry: KeyEntry) -> None:
    """Add to a keys file, or begin one; whoever reads it meanwhile sees the old or the new. Raises InvalidKeys."""
    try:
        there = entries_of(path.read_bytes(), f"keys file {path}") if path.exists() else []
        content = ENTRIES.dump_json([*there, entry], indent=2, exclude_none=True) + b"\n"
        entries_of(content, f"keys file {path}")
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.write_bytes(content)
        if there:
            shutil.copymode(path, draft)
        draft.replace(path)
    except OSError as error:
        raise InvalidKeys(f"keys file {path}: {error.strerror}") from error


def _entry(key: str, asked: argparse.Namespace) -> KeyEntry:
    fields = {
        "tenant": asked.tenant,
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "scopes": asked.scopes.split(","),
        "weight": asked.weight,
        "expires_at": asked.expires_at,
    }
    return entries_of(orjson.dumps([fields]), f"key {asked.tenant}")[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service key", description=__doc__)
    parser.add_argument("tenant", metavar="NAME", help="the tenant")
    parser.add_argument("--scopes", required=True, help=f"some of {','.join(KEY_SCOPES)}")
    parser.add_argument("--weight", type=float, default=1.0, help="share of the device while others wait (1)")
    parser.add_argument("--expires-at", metavar="TIME", help="such as 2030-12-31T00:00Z; without it never")
    parser.add_argument("--append", type=Path, metavar="FILE", help="the keys file to add it to; else it is printed")
    return parser
