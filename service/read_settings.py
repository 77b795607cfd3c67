"""Settings from flags, variables and secret files; what cannot work is said in one line, before anything is loaded."""

import difflib
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model_store.store import Store, StoreError, UnknownModel
from service.settings import Settings

PROGRAM = "python -m service [all|api|worker|check|key]"
PREFIX = "FIVEFOLD_"
OTHERS = frozenset({"FIVEFOLD_URL", "FIVEFOLD_API_KEY", "FIVEFOLD_PUBLISH"})  # the client's, and docker compose's
SECRETS = Path("/run/secrets")  # where containers find files named as the variables, such as fivefold_redis_url


def read_settings(flags: Sequence[str] = (), environment: Mapping[str, str] = os.environ) -> Settings:
    """Flags are named as the settings, and go before variables. Raises ValueError for what cannot work.

    `--help` and a flag that is not known end the process.
    """
    _refuse_unknown(environment)
    options: dict[str, Any] = {
        "_cli_prog_name": "python -m service [all|api|worker|check|key]",
        "_cli_kebab_case": True,
    }
    try:
        return Settings(_cli_parse_args=list(flags), _secrets_dir=SECRETS if SECRETS.is_dir() else None, **options)
    except ValidationError as error:
        raise ValueError("\n".join(_lines(error))) from None  # what was given may be a password


def check_place(settings: Settings, *, listens: bool) -> None:
    """The store and its models are there, and the port is free. Raises ValueError."""
    if not settings.store.is_dir():
        raise ValueError(f"store {settings.store}: no such folder; name one that holds models with --store")
    for reference in settings.models:
        try:
            Store(settings.store).resolve(reference)
        except UnknownModel as error:
            raise ValueError(f"models: {error}") from None
        except StoreError:  # the worker's log says what is wrong with it; the others are served
            pass
    if listens and settings.port:
        _check_port(settings.host, settings.port)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise ValueError(f"port {port} of {host}: {error.strerror}; choose another with --port") from None


def _refuse_unknown(names: Iterable[str]) -> None:
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name in names:
        if name.startswith(PREFIX) and name not in OTHERS and name not in known:
            nearest = difflib.get_close_matches(name, known, 1, cutoff=0.0)[0]
            raise ValueError(f"{name} is no setting; the nearest one is {nearest}")


def _lines(error: ValidationError) -> Iterable[str]:
    for one in error.errors(include_input=False, include_url=False):
        place, message = ".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")
        yield f"{place}: {message}" if place else message
