"""Image on the wire: encoded bytes with .save(), .numpy() and .pil() (those two where installed)."""

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

if TYPE_CHECKING:
    import numpy
    import PIL.Image


class Image:
    """A PNG, JPEG or WebP file in memory; base64 in JSON. What the service answers is always PNG."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @classmethod
    def open(cls, path: str | Path) -> "Image":
        return cls(Path(path).read_bytes())

    def save(self, path: str | Path) -> None:
        Path(path).write_bytes(self.data)

    def pil(self) -> "PIL.Image.Image":
        """The decoded picture. Needs Pillow."""
        import PIL.Image

        return PIL.Image.open(io.BytesIO(self.data))

    def numpy(self) -> "numpy.ndarray[Any, Any]":
        """uint8 [H, W] (grey) or [H, W, C]. Needs numpy and Pillow."""
        import numpy

        return numpy.asarray(self.pil())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and other.data == self.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"Image({len(self.data)} bytes)"

    @classmethod
    def _parse(cls, value: object) -> "Image":
        if isinstance(value, Image):
            return value
        if isinstance(value, str):
            try:
                return cls(_from_base64(value))
            except ValueError as error:
                raise ValueError(f"not base64: {error}") from error
        raise ValueError(f"an image is base64 text, not {type(value).__name__}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        encode = core_schema.plain_serializer_function_ser_schema(
            lambda image: base64.b64encode(image.data).decode("ascii"), when_used="json"
        )
        return core_schema.no_info_plain_validator_function(cls._parse, serialization=encode)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "contentEncoding": "base64", "description": "a PNG, JPEG or WebP file"}


def _from_base64(text: str) -> bytes:
    """The bytes of base64 as people have it: in lines, URL-safe, without its padding, or as a data URI.

    Raises ValueError.
    """
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not (comma and head.endswith(";base64")):
            raise ValueError("a data URI without ;base64 before its comma")
    digits = text.encode("ascii").translate(bytes.maketrans(b"-_", b"+/"), b" \t\r\n")
    return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
