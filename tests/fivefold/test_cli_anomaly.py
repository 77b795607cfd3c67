"""`fivefold anomaly`: a report to look at, and a table of the same numbers."""

import base64
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest
import shipped
from commands import good, refused, run

from fivefold import Client, Image
from fivefold.cli.report import Entry, Report


@pytest.fixture(autouse=True)
def client(shipped_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("FIVEFOLD_URL", shipped_url)
    with Client(shipped_url) as client:
        yield client


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seventeen clothes, so that there are two requests, some noise, and a file that is no picture."""
    folder = tmp_path / "photos & more"
    folder.mkdir()
    for index in range(17):
        shipped.png(shipped.fashion(index)).save(folder / f"clothes-{index:02d}.png")
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    shipped.png(noise).save(folder / "noise.png")
    (folder / "bad.png").write_text("no picture")
    return folder


def test_each_picture_has_the_scores_that_the_client_gives(client: Client, photos: Path) -> None:
    done = run("anomaly", photos, "--seed", 5, "--alpha", 0.1)
    bad, *rows = csv.DictReader(io.StringIO(done.stdout))
    images = [Image.open(row["input"]) for row in rows]
    wanted = client.vae_anomaly(images=images, seed=5, alpha=0.1).results
    assert done.exit_code == 1
    assert bad["error"].startswith("invalid_input: not a readable image")
    assert [float(row["p_value"]) for row in rows] == [item.p_value for item in wanted]
    assert [float(row["score_nats"]) for row in rows] == [item.score_nats for item in wanted]
    assert [row["anomalous"] for row in rows] == [str(item.anomalous) for item in wanted]


def test_json_lines_have_the_same_numbers(photos: Path) -> None:
    lines = [json.loads(line) for line in run("anomaly", photos, "--json").stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(run("anomaly", photos).stdout)))
    assert [line["input"] for line in lines] == [row["input"] for row in rows]
    assert [line.get("score_nats") for line in lines[1:]] == [float(row["score_nats"]) for row in rows[1:]]


def test_the_report_is_one_page_with_the_strangest_first(photos: Path, tmp_path: Path) -> None:
    done = run("anomaly", photos, "--out", tmp_path / "report.html", "--csv", tmp_path / "scores.csv")
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    page = (tmp_path / "report.html").read_text()
    shown = re.findall(r"<tr( class=anomalous)?>(.*?)</tr>", page.split("<tbody>")[1])
    assert done.stdout == ""
    assert not re.search(r"(src|href)=\"?(?!\"?data:)", page), "nothing is loaded from elsewhere"
    assert "photos &amp; more" in page
    assert len(shown) == len(rows) == 19
    assert "noise.png" in shown[0][1]
    assert "bad.png" in shown[-1][1]
    assert sum(bool(strange) for strange, _ in shown) == sum(row["anomalous"] == "True" for row in rows)
    (sources,) = [re.findall(r'src="data:image;base64,(.*?)"', row) for _, row in shown if "clothes-03" in row]
    photo, heat_map = (Image(base64.b64decode(source)) for source in sources)
    np.testing.assert_array_equal(photo.numpy(), shipped.fashion(3))
    assert heat_map.numpy().shape[:2] == (28, 28)


def test_rows_of_a_table_are_scored_by_the_model_of_their_width(client: Client, tmp_path: Path) -> None:
    rows = shipped.shuttle_rows(20)
    (tmp_path / "data.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows) + "1,2,x\n")
    done = run("anomaly", tmp_path / "data.csv", "--out", tmp_path / "report.html")
    *scored, bad = csv.DictReader(io.StringIO(done.stdout))
    wanted = client.vae_anomaly(model="vae-shuttle", rows=rows, seeds=[0] * len(rows)).results
    assert [float(row["score_nats"]) for row in scored] == [item.score_nats for item in wanted]
    assert (scored[0]["input"], bad["error"]) == (
        "row 1",
        "invalid_input: row 21 column 3: 'x' given, a number expected",
    )
    assert (tmp_path / "report.html").read_text().count("<tr") == 1 + 21
    assert done.stderr.splitlines()[-1] == "1 of 21 inputs have no result: see their errors"


def test_a_report_is_sorted_by_p_value_and_then_by_score(tmp_path: Path) -> None:
    with TemporaryFile() as rows:
        report = Report(rows)
        for name, p_value, score in (("c", 0.5, 1.0), ("b", 0.1, 2.0), ("a", 0.1, 3.0)):
            report.add(Entry(name, score_nats=score, p_value=p_value, anomalous=p_value < 0.2))
        report.add(Entry("<bad>", error="it's bad"))
        report.write(tmp_path / "page.html", "<title>", {"alpha": 0.2})
    page = (tmp_path / "page.html").read_text()
    assert re.findall(r"</td><td>(.+?)</td><td", page) == ["a", "b", "c", "&lt;bad&gt;"]
    assert "<strong>2 of 4</strong>" in page
    assert "it&#x27;s bad" in page
    assert "<title>&lt;title&gt;</title>" in page


def test_bad_input_is_refused_in_one_line(photos: Path, tmp_path: Path) -> None:
    assert "alpha: 2.0 given" in refused("anomaly", photos, "--alpha", 2)
    assert "not a readable image" in refused("anomaly", photos / "bad.png", "--out", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
    assert "p_value" in good("anomaly", photos / "noise.png").stdout
