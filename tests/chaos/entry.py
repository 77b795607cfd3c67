"""What a process of the tests runs: python -m service api or worker, with the chaos family and one fault of its own."""

import importlib
import threading
from collections.abc import Mapping
from multiprocessing import parent_process
from multiprocessing.connection import wait


def run(role: str, knobs: Mapping[str, object], fault: str | None) -> None:
    """An API replica or a worker, until a signal. A fault is armed before the service is imported."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if fault is not None:
        getattr(importlib.import_module("chaos.faults"), fault)()
    from chaos.family import CHAOS

    from service import __main__ as service
    from service.settings import Settings
    from service.telemetry import configure_logging

    settings = Settings(**knobs)
    configure_logging(settings.log_level, settings.log_format)
    {"api": service.run_api, "worker": service.run_worker}[role](settings, (CHAOS,))


def _end_with_parent() -> None:
    """Nothing outlives the tests, however they ended."""
    import os

    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
