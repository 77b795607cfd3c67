"""`fivefold enhance`: files and folders, in and out."""

import json
from pathlib import Path

import numpy as np
import pytest
import shipped
from commands import good, refused, run

from fivefold import Client, Image


@pytest.fixture(autouse=True)
def client(shipped_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIVEFOLD_URL", shipped_url)
    with Client(shipped_url) as client:
        yield client


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A noisy picture."""
    noise = np.random.default_rng(0).normal(scale=40, size=(28, 28))
    shipped.png((shipped.fashion(0) + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_picture_is_denoised_and_shown_before_and_after(client: Client, photo: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean.png"
    done = good("enhance", photo, "--task", "denoise", "-o", clean, "--before-after")
    (item,) = client.diffusion_enhance(task="denoise", images=[Image.open(photo)]).results
    assert clean.read_bytes() == item.image.data
    assert f"{clean}: sigma {item.sigma:.3g}" in done.stderr
    both = Image.open(tmp_path / "clean-before-after.png").numpy()
    np.testing.assert_array_equal(both[::4, :112:4], Image.open(photo).numpy())
    np.testing.assert_array_equal(both[::4, 116::4], item.image.numpy())


def test_a_small_picture_is_enlarged(tmp_path: Path) -> None:
    shipped.png(shipped.fashion(2)[::2, ::2].copy()).save(tmp_path / "small.png")
    good(
        "enhance", tmp_path / "small.png", "--task", "super_resolve", "--factor", 2, "--steps", 3,
        "-o", tmp_path / "large.png", "--before-after",
    )  # fmt: skip
    assert Image.open(tmp_path / "large.png").pil().size == (28, 28)


def test_what_a_mask_knows_stays(tmp_path: Path, photo: Path) -> None:
    mask = np.zeros((28, 28), np.uint8)
    mask[:, 14:] = 255
    shipped.png(mask).save(tmp_path / "mask.png")
    good(
        "enhance", photo, "--task", "inpaint", "--mask", tmp_path / "mask.png", "--class", "boot", "--steps", 3,
        "-o", tmp_path / "whole.png",
    )  # fmt: skip
    before, after = (Image.open(path).numpy() for path in (photo, tmp_path / "whole.png"))
    np.testing.assert_array_equal(before[:, 14:], after[:, 14:])
    assert (before[:, :14] != after[:, :14]).any()


def test_a_bad_picture_of_a_folder_harms_no_other(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    (tmp_path / "notes.txt").write_text("not looked at")
    done = run("enhance", tmp_path, "--task", "denoise", "-o", tmp_path / "clean", "--json")
    bad, fine = map(json.loads, done.stdout.splitlines())
    assert done.exit_code == 1
    assert done.stderr == "1 of 2 pictures have no result: see their errors\n"
    assert bad["input"] == str(tmp_path / "bad.png")
    assert bad["error"].startswith("invalid_input: not a readable image")
    assert (fine["output"], fine["seed"]) == (str(tmp_path / "clean" / "photo.png"), 1)
    assert [file.name for file in (tmp_path / "clean").iterdir()] == ["photo.png"]


def test_a_folder_of_bad_pictures_has_an_error_for_each(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no picture")
    done = run("enhance", tmp_path, "--task", "denoise", "-o", tmp_path / "clean")
    assert done.exit_code == 1
    assert [line.split(": ")[1] for line in done.stderr.splitlines()[:2]] == ["invalid_input"] * 2


def test_what_cannot_be_is_refused_in_one_line(photo: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "x.png")
    assert "nix.png does not exist" in refused("enhance", tmp_path / "nix.png", "--task", "denoise", *output)
    assert "1 pictures given, " in refused("enhance", tmp_path, "--task", "denoise", *output)
    assert "factor: 3 given" in refused("enhance", photo, "--task", "super_resolve", "--factor", 3, *output)
    assert "0 masks given" in refused("enhance", photo, "--task", "inpaint", *output)
    (tmp_path / "empty").mkdir()
    assert "0 pictures in" in refused("enhance", tmp_path / "empty", "--task", "denoise", *output)
    assert not (tmp_path / "x.png").exists()
