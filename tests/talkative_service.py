"""A service of the toy family that logs all it can, with an operation whose answers an error of the service prevents.

`python talkative_service.py` runs the API, which starts the same file with `worker` for its worker's process.
"""

import logging
import sys
from dataclasses import replace

from toy import SCALE, TOY, ScalePipeline, ToyScaleRequest

from model_store.store import Model
from service.__main__ import run_all, run_worker
from service.families.family import Family
from service.families.pipeline import FieldColumns, Results
from service.settings import Settings
from service.telemetry import configure_logging


class BrokenPipeline(ScalePipeline):
    """Its answers cannot be rendered."""

    operation = replace(SCALE, name="broken")

    def render(self, request: ToyScaleRequest, results: Results, model: Model) -> FieldColumns:
        raise RuntimeError("a fault of the service")


FAMILIES = [Family("toy", (*TOY.pipelines, BrokenPipeline()), TOY.open_sessions)]

if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    configure_logging("debug")
    if sys.argv[1:] == ["worker"]:
        run_worker(Settings(), FAMILIES)
    else:
        run_all(Settings(), FAMILIES, worker=[__file__, "worker"])
