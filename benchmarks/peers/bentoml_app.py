"""BentoML: an echo in adaptive batches of at most 32."""

import os
import sys
from pathlib import Path

import bentoml


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Echo:
    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def batch(self, rows: list[list[float]]) -> list[list[float]]:
        return rows

    @bentoml.api
    async def echo(self, model: str, rows: list[list[float]]) -> dict:
        return {"rows": rows}


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)
    bentoml.serve("bentoml_app:Echo", host="127.0.0.1", port=int(sys.argv[1]), blocking=True)
