"""The command line (extra `cli`): one file per group of commands, everything through the SDK."""

import typer

from fivefold.cli import anomaly, enhance, generate, models, sample, score
from fivefold.cli.reporting import ReportingGroup

app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Sample, restore and score with a running Fivefold service. Each command's --help has examples. "
    "A service that asks for a key gets the one in the variable `FIVEFOLD_API_KEY`.",
    epilog="Exit codes: 0 done; 1 the service could not, or not for every input; 2 the command or its input is wrong.",
)
for module in (models, sample, enhance, score, anomaly, generate):
    module.register(app)
