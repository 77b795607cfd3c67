"""Images on the wire: bytes in and out, decoded only when asked."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pydantic import BaseModel, ValidationError

from fivefold import Image


class Message(BaseModel):
    image: Image


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 3), (3, 2, 4)])
def test_pixels_come_back_as_they_were(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    image = Image(png(pixels))
    assert np.array_equal(image.numpy(), pixels)
    assert image.pil().size == (2, 3)


def test_json_carries_the_same_bytes() -> None:
    message = Message(image=Image(bytes(range(256))))
    again = Message.model_validate_json(message.model_dump_json())
    assert again == message
    assert again.image.data == bytes(range(256))
    assert len({again.image, message.image}) == 1
    assert repr(again.image) == "Image(256 bytes)"


def test_a_file_is_read_and_written_as_it_is(tmp_path: Path) -> None:
    Image(b"any bytes").save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png") == Image(b"any bytes") != Image(b"other bytes")


@pytest.mark.parametrize("text", ["not base64!", "Y", "ü"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="not base64"):
        Message.model_validate({"image": text})


def test_what_is_not_text_is_refused_by_its_type() -> None:
    with pytest.raises(ValidationError, match="not list"):
        Message.model_validate({"image": [1, 2]})


def test_the_schema_says_what_the_text_is() -> None:
    assert Message.model_json_schema()["properties"]["image"]["contentEncoding"] == "base64"
