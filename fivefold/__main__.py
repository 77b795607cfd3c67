"""`python -m fivefold`, and the console script of that name: starts the command line."""

import sys


def main() -> None:
    """Run the command line. Exits with 2 where the extra `cli` is not installed."""
    try:
        from fivefold.cli import app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"the command line needs {error.name}: pip install 'fivefold[cli]'\n")
        sys.exit(2)
    app(prog_name="fivefold")


if __name__ == "__main__":
    main()
