"""Every example of every command's --help runs as it stands."""

import gzip
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shipped
from commands import good

from fivefold import Client
from fivefold.cli import app

EXAMPLES = [
    line
    for command in app.registered_commands
    for line in (command.epilog or "").split("\n\n")
    if "fivefold " in line and "--url" not in line
]
FAMILIES = {"anomaly": "vae", "generate": "transformer", "chat": "transformer", "enhance": "diffusion"}


def family_of(example: str) -> str:
    """The family that an example needs."""
    words = shlex.split(example)
    command = words[words.index("fivefold") + 1]
    return words[words.index("--family") + 1] if "--family" in words else FAMILIES.get(command, "flow")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the examples name."""
    known = np.full((28, 28), 255, np.uint8)
    known[10:18, 10:18] = 0
    pictures = {"photo": shipped.fashion(0), "torn": shipped.fashion(1), "known": known}
    pictures["small"] = np.ascontiguousarray(shipped.fashion(2)[::2, ::2])
    (tmp_path / "photos").mkdir()
    pictures |= {f"photos/{index}": shipped.fashion(index) for index in range(3)}
    for name, pixels in pictures.items():
        shipped.png(pixels).save(tmp_path / f"{name}.png")
    rows = "".join(",".join(map(str, row)) + "\n" for row in shipped.shuttle_rows(5))
    (tmp_path / "data.csv").write_text(rows)
    (tmp_path / "data.csv.gz").write_bytes(gzip.compress(rows.encode()))
    (tmp_path / "letter.txt").write_text("My dear Emma,")
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_help_runs(
    example: str, folder: Path, shipped_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(shipped_url) as client:
        if family_of(example) not in {card.family for card in client.models()}:
            pytest.skip(f"no {family_of(example)} model ships")
        client.flow_sample.submit(model="flow-shuttle", seed=1)  # the newest job
    monkeypatch.setenv("FIVEFOLD_URL", shipped_url)
    monkeypatch.chdir(folder)
    words = shlex.split(example)
    if set(words) & {"|", "&&", ">"}:
        program = f'fivefold() {{ "{sys.executable}" -W error -m fivefold "$@"; }}\n{example}'
        subprocess.run(["bash", "-euo", "pipefail", "-c", program], capture_output=True, timeout=60, check=True)
    else:
        good(*words[1:], given="")
    for option in ("-o", "--out", "--csv", ">"):
        assert option not in words or (folder / words[words.index(option) + 1]).exists()


def test_every_command_has_an_example() -> None:
    commands = {shlex.split(example.partition("fivefold ")[2])[0] for example in EXAMPLES}
    assert commands == {command.name or command.callback.__name__ for command in app.registered_commands}
