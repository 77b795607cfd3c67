"""`fivefold models`, `ready`, the help, and how the command line fails."""

import json
import tomllib
from pathlib import Path

import pytest
from commands import good, process, refused, run

from fivefold import Client
from fivefold.cli import app

ROOT = Path(__file__).parents[2]
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.fixture(autouse=True)
def _service(shipped_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIVEFOLD_URL", shipped_url)


def test_models_lists_what_is_served_with_its_data(shipped_url: str) -> None:
    lines = good("models").stdout.splitlines()
    with Client(shipped_url) as client:
        cards = client.models()
    assert len(lines) == len(cards) + 1
    for card, line in zip(cards, lines[1:], strict=True):
        assert line.startswith(f"{card.name}@{card.version} ")
    assert any("flow-shuttle@1" in line and "row of 9 numbers" in line for line in lines)
    assert any("flow-fashion@1" in line and "28 x 28 picture" in line for line in lines)


def test_one_model_is_shown_with_its_columns_and_measures() -> None:
    shown = good("models", "flow-shuttle").stdout
    assert "V1, V2, V3, V4, V5, V6, V7, V8, V9" in shown
    assert "auroc_outliers" in shown


def test_json_is_what_the_client_gives(shipped_url: str) -> None:
    with Client(shipped_url) as client:
        cards = [card.model_dump(mode="json") for card in client.models()]
    assert json.loads(good("models", "--json").stdout) == cards
    assert json.loads(good("models", cards[0]["name"], "--json").stdout) == cards[0]


def test_ready_answers_by_its_exit_code() -> None:
    assert good("ready").stdout == "ready\n"
    assert json.loads(good("ready", "--json").stdout) == {"ready": True}
    message = refused("ready", "--url", "http://127.0.0.1:1", exit_code=1)
    assert message.startswith("not_ready: http://127.0.0.1:1 is not ready")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example_and_the_common_options(command: str) -> None:
    shown = good(command, "--help").stdout
    assert "Examples" in shown
    assert f"fivefold {command}" in shown.split("Examples")[1]
    assert "--url" in shown
    assert "--json" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("models", "nothing"), "unknown_model: there is no model 'nothing'"),
        (("models", "--url", "localhost:8000"), "invalid_input: --url: base_url 'localhost:8000' has no scheme"),
    ],
)
def test_an_error_is_one_line_with_its_code_and_the_way_out(arguments: tuple[str, ...], line: str) -> None:
    code = 1 if line.startswith("unknown_model") else 2
    assert refused(*arguments, exit_code=code).startswith(line)


def test_an_unknown_option_is_a_usage_error() -> None:
    result = run("models", "--colour")
    assert result.exit_code == 2
    assert "--colour" in result.stderr


def test_the_module_and_the_console_script_are_the_same_program() -> None:
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["fivefold"]
    assert script == "fivefold.__main__:main"
    done = process("ready")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


def test_progress_and_notes_go_to_stderr_even_on_a_terminal(tmp_path: Path) -> None:
    terminal = "import os; os.environ |= {'FORCE_COLOR': '1', 'TTY_COMPATIBLE': '1'}"
    done = process("score", "-", before=f"{terminal}\nimport io, sys\nsys.stdin = io.TextIOWrapper(io.BytesIO(b'1,2'))")
    assert (done.returncode, done.stdout) == (2, "")
    path = tmp_path / "rows.csv"
    path.write_text("37,0,92,0,24,3,55,69,14\n" * 3)
    done = process("score", path, before=terminal)
    assert len(done.stdout.splitlines()) == 4
    assert "scoring" in done.stderr


def test_without_the_extra_the_way_to_it_is_told() -> None:
    done = process("models", before="import sys; sys.modules['typer'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "the command line needs typer: pip install 'fivefold[cli]'\n"


def test_a_key_press_ends_it_without_a_traceback() -> None:
    interrupt = "import fivefold.client as c\ndef stop(*_): raise KeyboardInterrupt\nc.Client.models = stop"
    done = process("models", before=interrupt)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
