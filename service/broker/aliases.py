"""The aliases of the in-process queue: a small file, so that they survive a restart."""

import os
from collections.abc import Mapping
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from fivefold.errors import NotReady

ALIASES = TypeAdapter(dict[str, str])
log = structlog.get_logger()


class AliasFile:
    """ "name@alias" -> "name@version". A file that cannot be read is logged and counts as empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._aliases = self._read()

    def all(self) -> Mapping[str, str]:
        return dict(self._aliases)

    def set(self, alias: str, reference: str) -> None:
        """Written before it counts. Raises NotReady where the file cannot be written."""
        aliases = {**self._aliases, alias: reference}
        try:
            self._write(ALIASES.dump_json(aliases, indent=2) + b"\n")
        except OSError as error:
            raise NotReady(
                f"the alias {alias} cannot be kept, {self.path} is not writable ({error.strerror}): "
                "name a file that is with FIVEFOLD_ALIASES_FILE"
            ) from error
        self._aliases = aliases

    def _read(self) -> dict[str, str]:
        try:
            return ALIASES.validate_json(self.path.read_bytes(), strict=True)
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            log.error("aliases_unreadable", path=str(self.path), reason=type(error).__name__)
            return {}

    def _write(self, content: bytes) -> None:
        """A reader sees the old file or the new one."""
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            draft.write_bytes(content)
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)
