"""`fivefold sample`: what is written is what the client answers."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from commands import good, refused

from fivefold import Client, Image
from fivefold.cli.sample import BATCH
from fivefold.cli.served import class_of
from fivefold.errors import InvalidInput

SEED = 7


@pytest.fixture(autouse=True)
def client(shipped_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIVEFOLD_URL", shipped_url)
    with Client(shipped_url) as client:
        yield client


def drawn(client: Client, n: int) -> np.ndarray:
    """[n, 28, 28] of the default diffusion model."""
    answer = client.diffusion_sample(n=n, seed=SEED, class_name="ankle-boot", steps=2)
    return np.stack([item.image.numpy() for item in answer.results])


def sample_boots(*more: object):
    return good("sample", "--family", "diffusion", "--class", "boot", "--steps", 2, "--seed", SEED, *more)


def test_one_picture_is_the_services_own_file(client: Client, tmp_path: Path) -> None:
    sample_boots("-o", tmp_path / "boot.png")
    answer = client.diffusion_sample(seed=SEED, class_name="ankle-boot", steps=2)
    assert (tmp_path / "boot.png").read_bytes() == answer.results[0].image.data


def test_several_pictures_are_a_grid_whose_cells_are_the_samples(client: Client, tmp_path: Path) -> None:
    sample_boots("--n", 5, "-o", tmp_path / "boots.png")
    sheet = Image.open(tmp_path / "boots.png").numpy()
    assert sheet.shape == (2 * 112 + 4, 3 * 112 + 8)
    cells = [sheet[y : y + 112 : 4, x : x + 112 : 4] for y in (0, 116) for x in (0, 116, 232)]
    np.testing.assert_array_equal(cells[:5], drawn(client, 5))
    assert (cells[5] == 255).all()


def test_a_folder_gets_one_picture_each_also_beyond_one_request(client: Client, tmp_path: Path) -> None:
    count = BATCH + 2
    sample_boots("-n", count, "-o", tmp_path / "boots")
    files = sorted((tmp_path / "boots").iterdir())
    assert [file.name for file in files[:2]] == ["00.png", "01.png"]
    np.testing.assert_array_equal([Image.open(file).numpy() for file in files], drawn(client, count))


def test_an_array_has_the_exact_numbers(client: Client, tmp_path: Path) -> None:
    sample_boots("-n", 3, "-o", tmp_path / "boots.npy")
    exact = np.load(tmp_path / "boots.npy")
    assert (exact.shape, exact.dtype) == ((3, 1, 28, 28), np.float32)
    np.testing.assert_array_equal(np.rint(exact[:, 0] * 255), drawn(client, 3))


def test_json_tells_the_files_and_the_seed_that_was_drawn(tmp_path: Path) -> None:
    first, second = tmp_path / "1.npy", tmp_path / "2.npy"
    shared = ("sample", "--family", "flow", "--model", "flow-shuttle", "-n", 3)
    told = json.loads(good(*shared, "-o", first, "--json").stdout)
    assert (told["model"], told["n"], told["files"]) == ("flow-shuttle@1", 3, [str(first)])
    good(*shared, "-o", second, "--seed", told["seed"])
    assert first.read_bytes() == second.read_bytes()


def test_rows_of_a_table_are_csv_under_its_columns(client: Client, tmp_path: Path) -> None:
    shared = ("sample", "--family", "flow", "--model", "flow-shuttle", "-n", 4, "--seed", SEED)
    wanted = [item.row for item in client.flow_sample(model="flow-shuttle", n=4, seed=SEED).results]
    printed = good(*shared).stdout
    header, *rows = csv.reader(io.StringIO(printed))
    assert header == [f"V{index}" for index in range(1, 10)]
    assert [[float(cell) for cell in row] for row in rows] == wanted
    good(*shared, "-o", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == printed
    lines = good(*shared, "--json").stdout.splitlines()
    assert [list(json.loads(line).values()) for line in lines] == wanted


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--family", "flow", "--class", "boot"), "--class boot given, flow takes none: leave it out"),
        (("--family", "diffusion", "--class", "s"), "class 's' can be sandal or shirt or sneaker"),
        (("--family", "diffusion", "--class", "hat"), "class 'hat' is none of its classes: diffusion-fashion has"),
        (("--family", "flow", "--steps", "3"), "--steps 3 given, flow takes none: leave it out"),
        (("--family", "diffusion", "--steps", "0", "-o", "x.png"), "steps: 0 given"),
        (("--family", "diffusion"), "diffusion-fashion draws pictures, which need a place: -o sample.png"),
        (("--family", "flow", "--model", "diffusion-fashion"), "diffusion-fashion is a diffusion model, flow is asked"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: tuple[str, ...], line: str) -> None:
    assert refused("sample", *arguments).startswith(f"invalid_input: {line}")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refused("sample", "--family", "flow", "--model", "flow-shuttle", "-o", tmp_path / "file" / "rows.csv")
    assert line == f"file: Not a directory: {tmp_path / 'file' / 'rows.csv'}"


@pytest.mark.parametrize(
    ("text", "name"),
    [("shirt", "shirt"), ("boot", "ankle-boot"), ("SNEAK", "sneaker"), ("t", None), ("tsh", "tshirt-top"), ("", None)],
)
def test_a_class_is_named_by_any_part_that_no_other_has(client: Client, text: str, name: str | None) -> None:
    card = client.model("diffusion-fashion")
    if name is None:
        with pytest.raises(InvalidInput, match="can be"):
            class_of(card, text)
    else:
        assert class_of(card, text) == name
