"""The same weights as TorchScript: served only where it is allowed, and equal to the ONNX twin."""

import httpx
import pytest
from shipped import shuttle_rows

from benchmarks.server import Server, running
from fivefold import Client, errors

ROWS = shuttle_rows(100)


def test_torchscript_is_off_unless_allowed(service: Server) -> None:
    with (
        Client(service.url, max_retries=0) as client,
        pytest.raises(errors.NotReady, match="flow-shuttle@1-torchscript"),
    ):
        client.flow_log_likelihood(model="flow-shuttle@1-torchscript", rows=ROWS)


def test_the_twin_equals_the_onnx_model() -> None:
    models = '["flow-shuttle@1", "flow-shuttle@1-torchscript"]'
    with running(allow_torchscript="true", intra_op_threads="1", models=models) as server, Client(server.url) as client:
        names = {card["version"] for card in httpx.get(f"{server.url}/v1/models").json()["models"]}
        assert names == {"1", "1-torchscript"}
        twins = [client.flow_log_likelihood(model=f"flow-shuttle@{version}", rows=ROWS) for version in sorted(names)]
        for onnx, torchscript in zip(*(twin.results for twin in twins), strict=True):
            assert torchscript.log_prob_nats == pytest.approx(onnx.log_prob_nats, abs=1e-4)
            assert torchscript.log_dets_nats == pytest.approx(onnx.log_dets_nats, abs=1e-4)
        drawn = [client.flow_sample(model=f"flow-shuttle@{version}", n=20, seed=1) for version in sorted(names)]
        assert [item.row for item in drawn[0].results] == [item.row for item in drawn[1].results]
