"""Keys files, and the headers by which a key is given."""

import hashlib
import json
from pathlib import Path
from typing import Any


def entry(tenant: str, key: str, scopes: tuple[str, ...] = ("generate", "score"), **fields: Any) -> dict[str, Any]:
    """One key of a file."""
    return {"tenant": tenant, "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": scopes, **fields}


def keys_file(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "keys.json"
    path.write_text(json.dumps(entries))
    return path


def by_key(key: str) -> dict[str, str]:
    return {"x-api-key": key}


def by_bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
