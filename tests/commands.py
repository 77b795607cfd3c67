"""The command line as a shell would run it: in this process, or in one of its own."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from fivefold.cli import app


def run(*arguments: object, given: str | bytes | None = None) -> Result:
    """One command; exceptions that a user would see as a traceback are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def good(*arguments: object, given: str | bytes | None = None) -> Result:
    """One command that succeeds."""
    result = run(*arguments, given=given)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: object, given: str | bytes | None = None, exit_code: int = 2) -> str:
    """The one line that a command ends with."""
    result = run(*arguments, given=given)
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def process(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """`python -m fivefold` in a process of its own; `before` is run in it first."""
    code = f"{before}\nimport runpy, sys\nsys.argv[0] = 'fivefold'\nrunpy.run_module('fivefold', run_name='__main__')"
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    root = Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
