"""Messages that cannot be read are skipped: counted, and logged once for each kind."""

from collections import Counter

import structlog

log = structlog.get_logger()


class Unreadable:
    """How many messages of each kind ("job", "heartbeat", "order", "alias", "reply") were skipped."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def skip(self, kind: str, why: object) -> None:
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            log.warning("unreadable_message", kind=kind, reason=str(why)[:300])

    def text(self, kind: str, found: bytes) -> str | None:
        """The text, or None where it is none."""
        try:
            return found.decode()
        except UnicodeDecodeError as error:
            self.skip(kind, error)
            return None
