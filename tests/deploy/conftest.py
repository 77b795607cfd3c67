"""The version of the project, and the Kubernetes objects in every form."""

import tomllib

import pytest

from docs.readme import ROOT
from tests.deploy.objects import Object, rendered, written


@pytest.fixture(scope="session")
def version() -> str:
    """What every image is tagged with."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(params=["base", "cpu", "gpu"])
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return written() if request.param == "base" else rendered(request.param)
