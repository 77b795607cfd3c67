"""What an ONNX file refers to beyond itself: outside data and operator domains, read from the protobuf's wire format.

The engine would resolve both silently; reading the file first needs neither it nor the onnx package.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

# Field numbers of onnx.proto: message -> {field: message or kind of leaf}.
_MESSAGES: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 8: "OperatorSet", 25: "Function"},
    "OperatorSet": {1: "domain"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 9: "OperatorSet", 10: "domain", 11: "Attribute"},
    "Node": {5: "Attribute", 7: "domain"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "external", 14: "external"},
}
# As deep as protobuf's own readers go.
MAX_DEPTH = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass
class References:
    """`domains` of the operators used ("" is standard ONNX); `external_data` where weights lie in other files."""

    domains: set[str] = field(default_factory=set)
    external_data: bool = False


def references(data: bytes) -> References:
    """What the model in `data` refers to. Raises ValueError where this is no protobuf."""
    found = References()
    try:
        _walk(memoryview(data), "Model", found, MAX_DEPTH)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"{len(data)} bytes that are not an ONNX model: {error}") from error
    return found


def _walk(data: memoryview, message: str, found: References, depth: int) -> None:
    if not depth:
        raise ValueError(f"messages within messages, more than {MAX_DEPTH} deep: not an ONNX model")
    known = _MESSAGES[message]
    for number, value in _fields(data):
        kind = known.get(number)
        if kind == "domain" and isinstance(value, memoryview):
            found.domains.add(bytes(value).decode())
        elif kind == "external":
            # data_location (14) is 1 for EXTERNAL; external_data (13) holds the file's name.
            found.external_data |= value != 0
        elif kind in _MESSAGES and isinstance(value, memoryview):
            _walk(value, kind, found, depth - 1)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: int | memoryview
        if wire == _VARINT:
            value, at = _varint(data, at)
        else:
            size, at = _varint(data, at) if wire == _BYTES else ({_FIXED64: 8, _FIXED32: 4}.get(wire, -1), at)
            if size < 0 or at + size > len(data):
                raise ValueError(f"field {number} of wire type {wire} runs beyond the {len(data)} bytes of its message")
            value, at = data[at : at + size], at + size
        yield number, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 10 bytes")
