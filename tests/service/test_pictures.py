"""Pictures that people have: every mode, orientation and file, and what their metadata may hold."""

import base64
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.errors import InvalidInput
from fivefold.images import Image
from service.images import ORIENTATION, UPRIGHT, decode

SIDES = (12, 8)
GREY = (1, *SIDES)
LEVELS = np.random.default_rng(0).integers(0, 256, SIDES).astype(np.uint8)
PICTURE = PIL.Image.fromarray(LEVELS)
WANTED = LEVELS[None].astype(np.float32) / np.float32(255)
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}}
Picture = PIL.Image.Image


def saved(picture: Picture, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunks(*chunks: bytes) -> bytes:
    """A PNG with these behind its header."""
    png = saved(PICTURE, "PNG")
    return png[:33] + b"".join(chunks) + png[33:]


def with_exif(kind: str, exif: bytes) -> bytes:
    return saved(PICTURE, kind, exif=exif, **LOSSLESS.get(kind, {"quality": 95}))


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """Exif data of one field."""
    return (
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")[:4] + b"\0" * 8
    )


@pytest.mark.parametrize(("kind", "options"), LOSSLESS.items())
@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_grey_is_the_same_in_every_mode_and_file(mode: str, kind: str, options: dict[str, object]) -> None:
    picture = PICTURE.convert(mode)
    np.testing.assert_array_equal(decode(saved(picture, kind, **options), GREY), WANTED)
    for_colour = decode(saved(picture, kind, **options), (3, *SIDES))
    np.testing.assert_array_equal(for_colour, np.repeat(WANTED, 3, axis=0))


def test_colours_become_their_luma_and_black_and_white_the_ends() -> None:
    red = PIL.Image.new("RGB", SIDES[::-1], (255, 0, 0))
    assert decode(saved(red, "PNG"), GREY).max() == np.float32(76) / np.float32(255)
    np.testing.assert_array_equal(decode(saved(red, "PNG"), (3, *SIDES))[:, 0, 0], [1, 0, 0])
    bits = decode(saved(PICTURE.convert("1", dither=PIL.Image.Dither.NONE), "PNG"), GREY)
    np.testing.assert_array_equal(bits[0], LEVELS >= 128)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_mode_of_jpeg_is_read_near_its_levels(mode: str) -> None:
    smooth = PIL.Image.fromarray(np.add.outer(np.arange(12), np.arange(8)).astype(np.uint8) * 10)
    pixels = decode(saved(smooth.convert("RGB").convert(mode), "JPEG", quality=100), GREY)
    assert np.abs(pixels[0] * 255 - np.asarray(smooth)).max() <= 4


def test_sixteen_bits_keep_their_precision() -> None:
    levels = np.random.default_rng(1).integers(0, 65536, SIDES).astype(np.uint16)
    pixels = decode(saved(PIL.Image.fromarray(levels), "PNG"), GREY)
    np.testing.assert_array_equal(pixels[0], levels.astype(np.float32) / np.float32(65535))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_turned_upright(orientation: int, kind: str) -> None:
    back = {6: 8, 8: 6}.get(orientation, orientation)
    turned = PICTURE if orientation == 1 else PICTURE.transpose(UPRIGHT[back])
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = decode(saved(turned, kind, exif=exif, **LOSSLESS.get(kind, {"quality": 100})), GREY)
    assert np.abs(pixels - WANTED).max() <= (0.05 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        entry(0x011A, 2, 6, b"72 d"),
        entry(ORIENTATION, 2, 4, b"six"),
        entry(ORIENTATION, 3, 1, struct.pack("<H", 99)),
        entry(ORIENTATION, 5, 1, b"\xff\xff\xff\xff"),
        entry(0x8769, 4, 1, b"\xff\xff\xff\x7f"),
        b"Exif\0\0II*\0",
        b"Exif\0\0" + b"\xff" * 4000,
    ],
)
def test_metadata_never_costs_a_picture(exif: bytes, kind: str) -> None:
    assert decode(with_exif(kind, exif), GREY).shape == GREY


def test_texts_and_profiles_of_a_png_are_not_unpacked() -> None:
    bomb = zlib.compress(bytes(2**20), 9)
    texts = [chunk(b"zTXt", b"k\0\0" + bomb), chunk(b"iTXt", b"k\0\1\0\0\0" + bomb), chunk(b"iCCP", b"k\0\0" + bomb)]
    data = with_chunks(*texts * 60, chunk(b"prVt", bytes(2**20)))
    tracemalloc.start()
    np.testing.assert_array_equal(decode(data, GREY), WANTED)
    assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no PNG, JPEG, WEBP"),
        (saved(PICTURE, "GIF"), "no PNG, JPEG, WEBP"),
        (saved(PICTURE.resize((9, 9)), "PNG"), "9 x 9 pixels given, 8 x 12 expected"),
        (saved(PICTURE.transpose(UPRIGHT[6]), "PNG"), "12 x 8 pixels given, 8 x 12 expected"),
        (
            saved(PICTURE, "PNG", save_all=True, append_images=[PIL.Image.fromarray(255 - LEVELS)]),
            "frames given, 1 expected",
        ),
        (saved(PIL.Image.merge("LA", (PICTURE, PICTURE)), "PNG"), "lay it on a background"),
        (saved(PICTURE, "PNG", transparency=int(LEVELS[0, 0])), "lay it on a background"),
    ],
)
def test_what_is_no_such_picture_is_refused_in_words(data: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        decode(data, GREY)


VALID = [
    *(saved(PICTURE.convert(mode), "PNG") for mode in ("L", "P", "RGBA")),
    *(saved(PICTURE, kind) for kind in ("JPEG", "WEBP")),
    with_exif("JPEG", entry(ORIENTATION, 3, 1, struct.pack("<H", 6))),
    with_exif("WEBP", entry(ORIENTATION, 3, 1, struct.pack("<H", 3))),
]
Edit = tuple[int, int]


@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
def test_damaged_bytes_are_a_picture_or_refused(data: bytes, edits: list[Edit], kept: float) -> None:
    damaged = bytearray(data)
    for place, value in edits:
        damaged[place % len(damaged)] = value
    try:
        pixels = decode(bytes(damaged[: int(kept * len(damaged)) or 1]), GREY)
    except InvalidInput:
        return
    assert pixels.shape == GREY


FORMS: dict[str, Callable[[bytes], str]] = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "in lines": lambda data: base64.encodebytes(data).decode(),
    "in lines of CRLF": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "URL-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "URL-safe without padding": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "data URI": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
    "data URI with parameters": lambda data: "data:image/png;x=1;base64," + base64.b64encode(data).decode(),
}


@given(st.binary(min_size=1), st.sampled_from(list(FORMS.values())))
def test_every_form_of_base64_gives_the_bytes(data: bytes, form: Callable[[bytes], str]) -> None:
    assert Image._parse(form(data)).data == data


@pytest.mark.parametrize("text", ["***", "data:image/png,abc", "data:;base64", "a", "é", "A=B="])
def test_other_texts_are_no_base64(text: str) -> None:
    with pytest.raises(ValueError, match="not base64"):
        Image._parse(text)


def test_sizes_are_read_before_pixels() -> None:
    huge = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + huge + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    for shape in (GREY, (3, *SIDES)):
        with pytest.raises(InvalidInput, match=r"30000 x 30000|exceeds"):
            decode(data, shape)
