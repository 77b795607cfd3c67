"""Docker, as `make compose-check` needs it: a compose project of its own, its containers, their faults."""

import json
import subprocess
from typing import Any

from docs.readme import ROOT

PROJECT = "fivefold-check"


def docker(*arguments: str) -> str:
    """The output of one command."""
    done = subprocess.run(["docker", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def compose(*arguments: str) -> str:
    """A command on a project of its own, beside one that may be in use."""
    return docker("compose", "--project-name", PROJECT, *arguments)


def containers(service: str) -> list[str]:
    return compose("ps", "--quiet", service).split()


def inspect(container: str) -> dict[str, Any]:
    (found,) = json.loads(docker("inspect", container))
    return found


def kill(container: str) -> None:
    """As the kernel would; then started again."""
    docker("kill", "--signal", "KILL", container)
    docker("start", container)


def stop(container: str) -> None:
    """As a rolling restart does: it leaves by itself, in time and with success."""
    docker("stop", container)
    assert inspect(container)["State"]["ExitCode"] == 0
    docker("start", container)
