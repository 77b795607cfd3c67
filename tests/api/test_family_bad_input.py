"""Bad input of the shipped families over HTTP: 422 with what was given, what is possible, and the way out."""

from collections.abc import Iterator

import httpx
import pytest
from served import Service, serving

from model_store.store import Store
from service.families.registry import FAMILIES

ROW = [37.0, 0.0, 92.0, 0.0, 24.0, 3.0, 55.0, 69.0, 14.0]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(Store(), FAMILIES, models=["vae-shuttle", "gan-fashion"]) as running:
        yield running


@pytest.mark.parametrize(
    ("operation", "fields", "detail", "place"),
    [
        ("vae/anomaly", {"rows": [ROW], "alpha": 0}, "alpha: 0 given: input should be greater than 0", "alpha"),
        ("vae/anomaly", {"rows": [ROW], "alpha": 1.0}, "alpha: 1.0 given: input should be less than 1", "alpha"),
        ("vae/anomaly", {"rows": [ROW], "alpha": 1e-6}, "5000 held-out scores allow 0.0002 to 1: raise alpha", "alpha"),
        ("vae/anomaly", {"rows": [ROW], "score": "iwae"}, "'elbo', 'reconstruction' or 'kl'", "score"),
        ("vae/elbo", {"rows": [ROW], "samples": 0}, "0 given: input should be greater than or equal to 1", "samples"),
        ("vae/elbo", {"rows": [ROW], "samples": 10**6}, "1000000 given", "samples"),
        ("vae/encode", {"rows": [[*ROW, 1.0]]}, "10 numbers given, 9 expected: send 9 numbers", "rows.0"),
        ("vae/decode", {"latents": [[0.0] * 7]}, "7 numbers given, 8 expected: send 8 numbers", "latents.0"),
        ("vae/decode", {"latents": [[1e39] * 8]}, "entry 0 is 1e+39", "latents.0"),
        ("gan/sample", {"class": "boot"}, "'boot' is not one of the model's 10 classes: tshirt-top, ", "class"),
        ("gan/sample", {"truncation": 1.5}, "1.5 given: input should be less than or equal to 1", "truncation"),
        ("gan/sample", {"latents": [[0.0] * 63]}, "63 numbers given, 64 expected: send 64 numbers", "latents.0"),
        ("gan/interpolate", {"frames": 65}, "65 given: input should be less than or equal to 64", "frames"),
        ("gan/interpolate", {"latents": [[1.0] * 64, [-1.0] * 64]}, "180 degrees apart given", "latents"),
        ("gan/score", {"rows": [[0.5] * 783]}, "783 numbers given, 784 expected", "rows.0"),
        ("vae/sample", {"temperature": 2.5}, "2.5 given: input should be less than or equal to 2", "temperature"),
    ],
)
def test_bad_input_is_refused_in_place(service: Service, operation: str, fields: dict, detail: str, place: str) -> None:
    answer = httpx.post(f"{service.url}/v1/{operation}", json=fields)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]
    assert [error["place"] for error in answer.json()["errors"]] == [place]


def test_latents_that_are_no_numbers_are_refused(service: Service) -> None:
    for entry in ("NaN", "Infinity", "-1e999"):
        body = f'{{"latents": [[{entry}, 0, 0, 0, 0, 0, 0, 0]]}}'
        answer = httpx.post(f"{service.url}/v1/vae/decode", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert "finite" in answer.json()["detail"]
