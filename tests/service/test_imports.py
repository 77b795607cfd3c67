"""What each process of the service does not import."""

import subprocess
import sys

import pytest

API = "service.__main__, service.api.app, service.broker.redis"
WORKER = "service.__main__, service.worker.loop, service.worker.probe, service.runtime.onnx, service.broker.redis"
NOWHERE = ("torch", "onnx", "matplotlib", "training")


@pytest.mark.parametrize(
    ("process", "module"),
    [
        *((process, module) for process in (API, WORKER) for module in NOWHERE),
        (API, "onnxruntime"),
        (WORKER, "fastapi"),
        (WORKER, "uvicorn"),
    ],
)
def test_a_process_does_not_import(process: str, module: str) -> None:
    code = f"import sys, {process}; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
