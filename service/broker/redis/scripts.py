"""The scripts as the server gets them: limits, names and the common part in front of each."""

import hashlib
import struct
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path

from service.broker.base import Limits
from service.broker.redis import keys
from service.jobs import Integers, Job

LUA = Path(__file__).parent / "lua"
# What ends or drains work runs even where the server's memory is full; what brings work does not.
BRINGING = frozenset({"enqueue", "replay"})
# A script's first argument: these numbers, packed. Without a clock of a test `now` is 0, and the server's time counts.
NUMBERS = (
    "now", "lease_ms", "max_attempts", "unreadable_ms", "max_queue_seconds", "max_queued_jobs", "result_ttl_ms",
    "max_kept_jobs", "max_kept_bytes", "max_queue_bytes", "max_stream_bytes", "max_dead_jobs",
)  # fmt: skip
_NUMBERS = struct.Struct(f"<{'d' * len(NUMBERS)}")
# What the scripts know of a new job, in this order; what is empty is left out.
FIELDS = (
    "tenant", "class", "weight", "seconds", "operation", "detached", "key", "body_sha256", "rows", "row_count",
    "format",
)  # fmt: skip


def pack_numbers(limits: Limits, now: float | None) -> bytes:
    """`now` in seconds since the epoch, where it is not the server's to say."""
    given = {name: float(value) for name, value in vars(limits).items() if isinstance(value, int | float)}
    in_ms = {f"{name.removesuffix('_seconds')}_ms": 1e3 * value for name, value in given.items()}
    numbers = in_ms | given | {"now": 0.0 if now is None else float(round(now * 1e3))}
    return _NUMBERS.pack(*(numbers[name] for name in NUMBERS))


def fields_of(job: Job, limits: Limits) -> list[object]:
    """The values of FIELDS."""
    block = job.block
    found = {
        "tenant": job.tenant,
        "class": job.priority,
        "weight": limits.class_weights[job.priority] * job.weight,
        "seconds": repr(job.predicted_seconds),
        "operation": job.operation,
        "detached": "1" if job.detached else "",
        "key": job.idempotency_key or "",
        "body_sha256": job.body_sha256,
        "rows": "" if block.rows[0] == 0 and block.rows[-1] == len(block) - 1 else ranges(block.rows),
        "row_count": len(block),
        "format": job.format,
    }
    return [found[name] for name in FIELDS]


def ranges(rows: Integers) -> str:
    """0, 1, 2, 3, 7 -> "0-3 7"."""
    if rows[-1] - rows[0] == len(rows) - 1:
        return f"{rows[0]}-{rows[-1]}"
    runs = [[row for _, row in run] for _, run in groupby(enumerate(rows.tolist()), lambda pair: pair[1] - pair[0])]
    return " ".join(f"{run[0]}-{run[-1]}" for run in runs)


@cache
def source(script: str) -> bytes:
    """A script as the server gets it: whatever way its body ends, replies are sent and numbers written."""
    flags = "" if script in BRINGING else " flags=allow-oom"
    common, body = ((LUA / f"{name}.lua").read_text() for name in ("common", script))
    main = f"local function main()\n{body}\nend\nlocal answer = main()\nfinish_script()\nreturn answer\n"
    return f"#!lua{flags}\n{_names()}{common}\n{main}".encode()


@cache
def sha(script: str) -> str:
    return hashlib.sha1(source(script), usedforsecurity=False).hexdigest()


def sources() -> dict[str, bytes]:
    """Every script by its SHA-1."""
    names = [path.stem for path in LUA.glob("*.lua") if path.stem != "common"]
    return {sha(name): source(name) for name in names}


def _names() -> str:
    return (
        f"local {', '.join(NUMBERS)} = struct.unpack('{_NUMBERS.format}', ARGV[1])\n"
        f"local FIELDS = {{ {_quoted(FIELDS)} }}\n"
        f"local REPLY, ARRIVED, CANCELLED = {_quoted((keys.REPLY, keys.ARRIVED, keys.CANCELLED))}\n"
    )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
