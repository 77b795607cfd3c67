"""An answer as what is recorded of it: short values literally, long ones and arrays by the hash of their content."""

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageSequence

from tests.answers.wire import APNG, CSV, EVENTS, JSON, NPY, PNG

LONGEST = 16  # numbers that are recorded one by one
LITERAL_ITEMS = 7  # items that are recorded one by one
PNG_BASE64 = "iVBORw0KGgo"
HEADERS = ("fivefold-exactness", "fivefold-model", "fivefold-receipt", "fivefold-seed")
Record = dict[str, Any]


def record_of(status: int, headers: Mapping[str, str], content: bytes) -> Record:
    """The record of one response."""
    media_type = headers["content-type"].partition(";")[0]
    if status != 200:
        problem = json.loads(content)
        return {"status": status, "code": problem["code"], "detail": problem["detail"], "errors": problem["errors"]}
    if media_type == JSON:
        return {"status": status, **_document(json.loads(content))}
    if media_type == EVENTS:
        return {"status": status, **_stream(content.decode())}
    named = {name: headers[name] for name in HEADERS}
    return {"status": status, "headers": named, "content": _content(media_type, content)}


def _document(answer: Record) -> Record:
    items = answer["items"]
    listed = [digest(item) for item in items] if len(items) <= LITERAL_ITEMS else _columns(items)
    meta = {name: answer["meta"][name] for name in ("exactness", "receipt")}
    return {"items": listed, "parameters": digest(answer["parameters"]), "meta": meta}


def _columns(items: list[Record]) -> Record:
    """Many items: one hash over all of them for each field, the places of the failed ones, a count for each error."""
    good = [item for item in items if "error" not in item]
    names = sorted({name for item in good for name in item})
    columns = {name: _hash(_canonical([_decoded(item.get(name)) for item in good])) for name in names}
    bad = [item for item in items if "error" in item]
    errors = Counter(f"{item['error']['code']}: {item['error']['message']}" for item in bad)
    failed = digest([item["index"] for item in bad])
    return {"count": len(items), "fields": columns, "failed": failed, "errors": dict(errors)}


def digest(value: Any) -> Any:
    """A value of a JSON answer, as it is recorded."""
    if isinstance(value, dict):
        found = {name: digest(inner) for name, inner in value.items()}
        return found if len(value) <= LONGEST else {"names": len(value), "sha256": _hash(_canonical(value))}
    if isinstance(value, str) and value.startswith(PNG_BASE64):
        return _array(_pixels(base64.b64decode(value)))
    if isinstance(value, list) and len(value) > LONGEST:
        return _numbers(value)
    return [digest(inner) for inner in value] if isinstance(value, list) else value


def _numbers(values: list[Any]) -> Any:
    if all(isinstance(value, int | float) for value in values):
        return _array(np.asarray(values))
    return {"entries": len(values), "sha256": _hash(_canonical(_decoded(values)))}


def _decoded(value: Any) -> Any:
    """The same, with pictures as what they show."""
    if isinstance(value, str) and value.startswith(PNG_BASE64):
        return _array(_pixels(base64.b64decode(value)))
    return [_decoded(inner) for inner in value] if isinstance(value, list) else value


def _stream(text: str) -> Record:
    """Each item's events in their order; how those of different items alternate is not recorded."""
    items: dict[str, list[str]] = {}
    found: Record = {"unknown": []}
    for frame in filter(None, text.split("\n\n")):
        if frame.startswith(":"):
            continue
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        data = json.loads(fields["data"])
        if fields["event"] == "done":
            found["done"] = _document(data)
        elif "index" in data:
            seen = " ".join((fields["event"], fields["id"], _hash(_canonical(digest(data)))))
            items.setdefault(str(data["index"]), []).append(seen)
        else:
            found["unknown"].append({"event": fields["event"], "code": data.get("code"), "detail": data.get("detail")})
    return {**found, "events": items}


def _content(media_type: str, content: bytes) -> Record:
    if media_type == NPY:
        return _array(np.load(io.BytesIO(content), allow_pickle=False))
    if media_type == CSV:
        header, _, rest = content.decode().partition("\n")
        names = header if len(header) <= 200 else _hash(header.encode())
        return {"header": names, "lines": rest.count("\n"), "sha256": _hash(content)}
    if media_type not in (PNG, APNG):
        raise ValueError(f"{media_type} answered: no way to decode it is known")
    with PIL.Image.open(io.BytesIO(content)) as picture:
        frames = [np.asarray(frame) for frame in PIL.ImageSequence.Iterator(picture)]
        pause_ms = picture.info.get("duration")
    return {**_array(np.stack(frames)), "pause_ms": pause_ms}


def _pixels(content: bytes) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def _array(array: np.ndarray) -> Record:
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "sha256": _hash(np.ascontiguousarray(array).tobytes()),
    }


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _hash(content: bytes) -> str:
    """The first 64 bits of a sha256: enough to see a difference."""
    return hashlib.sha256(content).hexdigest()[:16]
