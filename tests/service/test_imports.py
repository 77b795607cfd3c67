"""What the serving path does not import."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["torch", "onnx", "matplotlib", "training"])
def test_the_service_does_not_import(module: str) -> None:
    code = f"import sys, service.__main__; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
