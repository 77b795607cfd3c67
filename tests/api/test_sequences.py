"""Frames as one picture: a strip, or an animation; what is no sequence stays one image."""

import io
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import toy

from fivefold.errors import NotAcceptable
from fivefold.operation import APNG_TYPE, NPY_TYPE, PNG_TYPE
from model_store.store import Store
from service.api.media.response_body import Rendered, encode

FRAMES = [np.full((1, 2, 2), level, np.float32) for level in (0.0, 0.4, 1.0)]
TIMING = {"queue_ms": 0.0, "compute_ms": 0.0, "total_ms": 0.0}


def rendered(store: Store, *, sequence: bool) -> Rendered:
    model = store.resolve("toy-affine")
    meta = {
        "model": {"name": model.ref.name, "version": model.ref.version, "digest": model.ref.digest},
        "exactness": "bitwise",
        "scope": "test",
        "timing": TIMING,
        "receipt": "0",
    }
    fields = {"index": np.arange(3), "seed": np.zeros(3, np.int64), "image": np.stack(FRAMES), "steps": [1] * 3}
    return Rendered(replace(toy.COUNT, sequence=sequence), model, fields, {}, {}, meta)


def test_a_strip_has_the_frames_from_left_to_right(toy_store: Store) -> None:
    response = encode(PNG_TYPE, rendered(toy_store, sequence=True))
    picture = PIL.Image.open(io.BytesIO(response.body))
    assert picture.size == (6, 2)
    assert np.asarray(picture)[0].tolist() == [0, 0, 102, 102, 255, 255]


def test_an_animation_plays_every_frame_for_ever(toy_store: Store) -> None:
    response = encode(APNG_TYPE, rendered(toy_store, sequence=True))
    assert response.media_type == APNG_TYPE
    picture = PIL.Image.open(io.BytesIO(response.body))
    assert (picture.n_frames, picture.info["loop"]) == (3, 0)
    levels = []
    for frame in range(3):
        picture.seek(frame)
        levels.append(picture.convert("L").getpixel((0, 0)))
    assert levels == [0, 102, 255]


def test_the_exact_frames_are_an_array(toy_store: Store) -> None:
    array = np.load(io.BytesIO(encode(NPY_TYPE, rendered(toy_store, sequence=True)).body))
    np.testing.assert_array_equal(array, np.stack(FRAMES))


def test_several_images_that_are_no_sequence_are_no_picture(toy_store: Store) -> None:
    with pytest.raises(NotAcceptable, match="3 images asked, image/png holds 1"):
        encode(PNG_TYPE, rendered(toy_store, sequence=False))
