"""Which media type an answer has: the one that the client likes best."""

from collections.abc import Sequence

from fivefold.errors import NotAcceptable


def negotiate(accept: str, offered: Sequence[str]) -> str:
    """The offered media type with the highest q, the first among equals. Raises NotAcceptable."""
    if accept == "*/*":
        return offered[0]
    if accept in offered:
        return accept
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]

    def quality(media_type: str) -> float:
        patterns = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        return next((q for pattern in patterns for name, q in ranges if name == pattern), 0.0)

    best = max(offered, key=quality)
    if quality(best) <= 0:
        raise NotAcceptable(f"accept {accept[:80]!r} given; this operation answers {', '.join(offered)}")
    return best


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weights = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
    try:
        return name, float(weights[0]) if weights else 1.0
    except ValueError:
        return name, 0.0
