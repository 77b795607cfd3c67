"""API keys: the file that knows each by its sha256, and the ring that finds the tenant of a request."""

import hashlib
import hmac
import time
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fivefold.errors import Unauthenticated
from fivefold.operation import OperationScope

KeyScope = Literal[OperationScope, "admin"]
KEY_SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)


class InvalidKeys(ValueError):
    """The keys file cannot be used. The message names the file and the places, never what stands there."""


@dataclass(frozen=True)
class Tenant:
    """Who asks. `weight` is its share of the device while others wait; `scopes` are those of the key that was given."""

    name: str
    weight: float
    scopes: frozenset[KeyScope]


ANONYMOUS = Tenant("anonymous", 1.0, frozenset(KEY_SCOPES))


class KeyEntry(BaseModel):
    """One key of the file. A tenant has as many as it needs, of one weight: the new beside the old while it rotates."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tenant: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the key's bytes, in hexadecimal")
    scopes: tuple[KeyScope, ...] = Field(min_length=1)
    weight: float = Field(1.0, ge=0.001, le=1000)
    expires_at: AwareDatetime | None = None


def _consistent(entries: list[KeyEntry]) -> list[KeyEntry]:
    digest, count = Counter(entry.sha256 for entry in entries).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{count} entries have the sha256 {digest[:8]}…: leave one of them")
    for entry in entries:
        weights = {other.weight for other in entries if other.tenant == entry.tenant}
        if len(weights) > 1:
            given = ", ".join(f"{weight:g}" for weight in sorted(weights))
            raise ValueError(f"the keys of {entry.tenant} have the weights {given}: give them one")
    return entries


ENTRIES = TypeAdapter(Annotated[list[KeyEntry], Field(min_length=1), AfterValidator(_consistent)])


def read_keys(path: Path) -> "KeyRing":
    """The keys of a file. Raises InvalidKeys."""
    try:
        return KeyRing(entries_of(path.read_bytes(), f"keys file {path}"))
    except OSError as error:
        raise InvalidKeys(f"keys file {path}: {error.strerror}") from error


def entries_of(content: bytes, source: str) -> list[KeyEntry]:
    """The entries of a JSON text. Raises InvalidKeys."""
    try:
        return ENTRIES.validate_json(content.removeprefix(BOM_UTF8), strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{_place(one['loc'])}{one['msg'].removeprefix('Value error, ')}" for one in error.errors())
    # Outside of the handler, so that no traceback shows the input: a key may stand where its hash belongs.
    raise InvalidKeys(f"{source}: {wrong}")


def _place(location: tuple[int | str, ...]) -> str:
    known = [str(part) for part in location if isinstance(part, int) or part in KeyEntry.model_fields]
    return f"{'.'.join(known)}: " if known else ""


class KeyRing:
    """Every key that is known. `clock` gives seconds since the epoch."""

    def __init__(self, entries: Sequence[KeyEntry], clock: Callable[[], float] = time.time) -> None:
        self._entries = [
            (entry.sha256, Tenant(entry.tenant, entry.weight, frozenset(entry.scopes)), entry.expires_at)
            for entry in entries
        ]
        self._clock = clock

    def tenant_of(self, headers: Mapping[str, str]) -> Tenant:
        """Whose key it is. Raises Unauthenticated: no key, an unknown one, or one whose time is over."""
        if not (key := _key_in(headers)):
            raise Unauthenticated("no key given: send it as x-api-key, or as authorization: Bearer")
        digest, found = hashlib.sha256(key.encode("latin-1")).hexdigest(), None
        for entry in self._entries:  # all of them, whatever has been found: the time tells nothing
            if hmac.compare_digest(entry[0], digest):
                found = entry
        if found is None:
            raise Unauthenticated("the key given is not known here: ask the operator for one")
        _, tenant, expires_at = found
        if expires_at is not None and self._clock() >= expires_at.timestamp():
            raise Unauthenticated(f"the key of {tenant.name} expired at {expires_at.isoformat()}: ask for a new one")
        return tenant


def _key_in(headers: Mapping[str, str]) -> str:
    """`x-api-key` before `authorization`, which a proxy may need for itself."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
