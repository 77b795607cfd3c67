"""What the images are made of."""

import re
import tomllib

import pytest
import yaml

from docs.readme import ROOT

DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def instructions(text: str, name: str) -> list[str]:
    """The arguments of each instruction of that name."""
    return re.findall(rf"^{name} (.+)$", text.replace("\\\n", ""), flags=re.MULTILINE)


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.name)
def dockerfile(request: pytest.FixtureRequest) -> str:
    return request.param.read_text()


def test_an_image_is_built_on_a_pinned_slim_python_without_a_foreign_frontend(dockerfile: str) -> None:
    assert {line.split()[0] for line in instructions(dockerfile, "FROM")} == {"python:3.13-slim"}
    assert "# syntax" not in dockerfile


def test_an_image_runs_as_a_user_without_rights(dockerfile: str) -> None:
    last = dockerfile.rindex("FROM ")
    assert instructions(dockerfile[last:], "USER") == ["10001:10001"]


def test_no_download_cache_stays_in_an_image(dockerfile: str) -> None:
    installs = [part for line in instructions(dockerfile, "RUN") for part in line.split("&&") if " install " in part]
    assert any("pip" in part for part in installs)
    assert all("--no-cache-dir" in part for part in installs if "pip" in part)


def test_what_an_image_copies_is_there_and_not_ignored(dockerfile: str) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [line.split()[0] for line in instructions(dockerfile, "COPY") if not line.startswith("--from")]
    assert {source.split("/")[0] for source in sources} <= kept
    assert all(any(ROOT.glob(source)) for source in sources)


def test_the_context_holds_neither_secrets_nor_data() -> None:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    assert {"!docker", "!deploy", "!data", "!runs", "!."}.isdisjoint(rest)


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.gpu.yml"])
def test_an_image_has_the_extras_of_the_project_and_never_torch_where_it_serves(file: str) -> None:
    services = yaml.safe_load((ROOT / file).read_text())["services"]
    extras = [service["build"]["args"]["EXTRAS"] for service in services.values() if "args" in service.get("build", {})]
    assert extras
    for chosen in extras:
        assert set(chosen.split(",")) <= set(EXTRAS) - {"torchscript", "train", "dev"}
