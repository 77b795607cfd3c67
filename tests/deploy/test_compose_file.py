"""The compose file: confined containers, a queue nobody else reaches, no secret in sight."""

import re
import subprocess

import pytest
import yaml

from docs.readme import ROOT
from service.settings import Settings

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU, KEYS = (yaml.safe_load((ROOT / f"docker-compose.{name}.yml").read_text()) for name in ("gpu", "keys"))
SERVICES = COMPOSE["services"]
SERVING = {name: service for name, service in SERVICES.items() if "profiles" not in service}
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def variables(environment: dict[str, str]) -> dict[str, str]:
    """An environment with the defaults that compose puts in."""
    return {name: re.sub(r"^\$\{\w+:-(.*)}$", r"\1", value) for name, value in environment.items()}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == ("10001:10001" if name in OURS else "999:999")
    assert service["pids_limit"] > 0
    assert service["mem_limit"].endswith("g")
    assert all(mount.startswith("/tmp:size=") for mount in service["tmpfs"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)


@pytest.mark.parametrize("name", SERVING)
def test_what_serves_says_how_it_is_and_is_started_again(name: str) -> None:
    assert SERVING[name]["healthcheck"]["test"]
    assert SERVING[name]["restart"] == "unless-stopped"


def test_every_image_has_a_version(version: str) -> None:
    for service in (*SERVICES.values(), *GPU["services"].values()):
        _, _, tag = service["image"].partition(":")
        assert tag == (version if "build" in service else "8")


def test_only_the_api_is_published_and_only_on_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api"}
    assert SERVICES["api"]["ports"] == ["${FIVEFOLD_PUBLISH:-127.0.0.1:8000}:8000"]


def test_the_queue_has_a_network_without_a_way_out() -> None:
    assert COMPOSE["networks"]["queue"] == {"internal": True}
    assert SERVICES["valkey"]["networks"] == SERVICES["worker"]["networks"] == ["queue"]
    assert "queue" not in SERVICES["trainer"]["networks"]


def test_the_processes_wait_for_the_queue() -> None:
    for name in ("api", "worker"):
        assert SERVICES[name]["depends_on"] == {"valkey": {"condition": "service_healthy"}}


def test_the_queue_is_durable_bounded_and_never_evicts() -> None:
    command = SERVICES["valkey"]["command"]
    for words in ("--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction", "--maxmemory 512mb"):
        assert words in command
    assert SERVICES["valkey"]["mem_limit"] == "1g", "twice maxmemory: rewriting the log copies what changes meanwhile"
    assert SERVICES["valkey"]["volumes"] == ["queue:/data"]


def test_secrets_are_files_that_git_ignores() -> None:
    files = [secret["file"] for compose in (COMPOSE, KEYS) for secret in compose["secrets"].values()]
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.split() == files
    text = (ROOT / "docker-compose.yml").read_text()
    assert "requirepass " not in text.replace("s/^requirepass //p", "")
    assert "redis://" not in text


def test_no_process_is_killed_while_it_finishes_its_rows() -> None:
    for name in ("api", "worker"):
        shutdown_seconds = float(SERVICES[name]["environment"]["FIVEFOLD_SHUTDOWN_SECONDS"])
        assert float(SERVICES[name]["stop_grace_period"].rstrip("s")) >= shutdown_seconds + 5


def test_the_overrides_change_services_that_exist() -> None:
    for override in (GPU, KEYS):
        assert set(override["services"]) <= set(SERVICES)


@pytest.mark.parametrize("name", ["api", "worker"])
def test_every_variable_is_a_setting_and_together_they_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = variables(SERVICES[name]["environment"])
    assert {variable.removeprefix("FIVEFOLD_").lower() for variable in environment} <= set(Settings.model_fields)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert Settings().models == ()
