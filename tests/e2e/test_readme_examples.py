"""Every example of the README runs as it stands, in its order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import PIL.Image

from benchmarks.server import Server
from docs.readme import ROOT, SETTINGS, render, settings_page

README = (ROOT / "README.md").read_text()
# The examples' programs are this checkout's, wherever they are run.
SHELL = f"""
python() {{ PYTHONPATH="{ROOT}" "{sys.executable}" "$@"; }}
fivefold() {{ python -m fivefold "$@"; }}
"""
ADDRESS = "http://127.0.0.1:8000"


def blocks() -> list[tuple[str, str]]:
    """(language, text) of the README's executable blocks."""
    return re.findall(r"```(bash|python)\n(.*?)```", README, flags=re.DOTALL)


def test_every_example_runs(service: Server, tmp_path: Path) -> None:
    assert len(blocks()) >= 9
    for language, text in blocks():
        program = ["bash", "-euo", "pipefail", "-c"] if language == "bash" else [sys.executable, "-W", "error", "-c"]
        shell = SHELL if language == "bash" else ""
        example = shell + text.replace("curl -s", "curl --fail-with-body -s").replace(ADDRESS, service.url)
        done = subprocess.run(
            [*program, example],
            cwd=tmp_path,
            env={**os.environ, "FIVEFOLD_URL": service.url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    for picture in ("boot.png", "clean.png", "drawn.png"):
        with PIL.Image.open(tmp_path / picture) as image:
            assert image.size == (28, 28)


def test_every_operation_has_a_curl_and_an_sdk_example(service: Server) -> None:
    from fivefold import diffusion, flow, gan, transformer, vae

    shell = "".join(text for language, text in blocks() if language == "bash")
    python = "".join(text for language, text in blocks() if language == "python")
    for operation in (
        *flow.OPERATIONS,
        *diffusion.OPERATIONS,
        *transformer.OPERATIONS,
        *vae.OPERATIONS,
        *gan.OPERATIONS,
    ):
        assert operation.path in shell
        assert f"client.{operation.family}_{operation.name.replace('-', '_')}(" in python


def test_tree_and_model_table_are_up_to_date() -> None:
    assert render(README) == README, "run `python -m docs.readme`"


def test_the_page_of_the_settings_is_up_to_date() -> None:
    assert settings_page() == SETTINGS.read_text(), "run `python -m docs.readme`"
