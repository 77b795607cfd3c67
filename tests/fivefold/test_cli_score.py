"""`fivefold score`: CSV in, CSV or JSON lines out, in constant memory."""

import csv
import io
import json
from pathlib import Path

import pytest
import shipped
from commands import good, process, refused, run

from fivefold import Client
from fivefold.cli.tables import BATCH

ROW = "37,0,92,0,24,3,55,69,14"


@pytest.fixture(autouse=True)
def client(shipped_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIVEFOLD_URL", shipped_url)
    with Client(shipped_url) as client:
        yield client


def lines(count: int) -> str:
    rows = shipped.shuttle_rows(500)
    return "".join(",".join(map(str, rows[index % 500])) + "\n" for index in range(count))


def scores(text: str) -> list[float]:
    return [float(row["log_prob_nats"]) for row in csv.DictReader(io.StringIO(text))]


def test_every_row_gets_the_score_that_the_client_gives_across_requests(client: Client, tmp_path: Path) -> None:
    count = BATCH + 3
    (tmp_path / "data.csv").write_text(lines(count))
    good("score", tmp_path / "data.csv", "-o", tmp_path / "scores.csv", "--seed", 5)
    rows = (shipped.shuttle_rows(500) * 2)[:count]
    wanted = client.flow_log_likelihood(model="flow-shuttle", rows=rows, seed=5)
    assert scores((tmp_path / "scores.csv").read_text()) == [item.log_prob_nats for item in wanted.results]


def test_the_model_is_chosen_by_the_width_and_a_header_is_passed_over() -> None:
    with_header = good("score", "-", given=f"a,b,c,d,e,f,g,h,i\n\n{ROW}\n").stdout
    assert with_header == good("score", "-", "--model", "flow-shuttle", given=f"\ufeff{ROW}\r\n".encode()).stdout
    assert len(scores(with_header)) == 1


def test_a_bad_row_gets_an_error_in_its_place() -> None:
    done = run("score", "-", given=f"{ROW}\n1,2,3\n{ROW[:-2]}x\n{ROW[:-2]}nan\n{ROW}\n")
    first, short, text, infinite, last = csv.DictReader(io.StringIO(done.stdout))
    assert done.exit_code == 1
    assert done.stderr == "3 of 5 rows have no result: see their errors\n"
    assert short["error"] == "invalid_input: 3 numbers given, 9 expected: send 9 numbers"
    assert text["error"] == "invalid_input: column 9 is 'x', a finite number expected"
    assert infinite["error"] == "invalid_input: column 9 is 'nan', a finite number expected"
    assert (first["error"], last["error"], last["row"], last["seed"]) == ("", "", "5", "0")


def test_rows_that_are_all_bad_get_an_error_each() -> None:
    done = run("score", "-", "--json", given=f"{ROW[:-2]}x\n" + "1e200,0,92,0,24,3,55,69,14\n" * 12)
    assert done.exit_code == 1
    errors = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert len(errors) == 13
    assert all("entry 0 is 1e+200" in error for error in errors[1:])


def test_json_lines_have_the_same_numbers() -> None:
    (record,) = map(json.loads, good("score", "-", "--json", given=ROW).stdout.splitlines())
    assert record["row"] == 1
    assert [record["log_prob_nats"]] == scores(good("score", "-", given=ROW).stdout)


def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path) -> None:
    assert refused("score", tmp_path / "nix.csv") == f"file: No such file or directory: {tmp_path / 'nix.csv'}"
    assert "0 rows in the file" in refused("score", "-", given="a,b\n")
    assert "2 columns given, flow-fashion has 784, flow-shuttle has 9" in refused("score", "-", given="1,2")
    assert "not CSV" in refused("score", "-", given="1" * 200_000)
    assert "is a diffusion model" in refused("score", "-", "--model", "diffusion-fashion", given=ROW)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    tell = "import atexit, resource, sys\ndef tell(): print(resource.getrusage(0).ru_maxrss, file=sys.stderr)\n"

    def peak_kilobytes(count: int) -> int:
        (tmp_path / "data.csv").write_text(lines(count))
        done = process("score", tmp_path / "data.csv", before=f"{tell}atexit.register(tell)")
        assert len(done.stdout.splitlines()) == count + 1
        return int(done.stderr)

    assert peak_kilobytes(12 * BATCH) < peak_kilobytes(2 * BATCH) + 4_000
