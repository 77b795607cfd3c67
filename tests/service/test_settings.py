"""What cannot work is refused at the start, with both numbers and the way out, and no password."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.cpus import usable_cpus
from service.read_settings import read_settings
from service.settings import Settings

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"lease_seconds": 1.0, "heartbeat_seconds": 0.5}, r"lease_seconds 1 is less than three heartbeats of 0\.5 s"),
        ({"redis_url": f"http://:{SECRET}@queue:6379"}, r"give the address of a server: redis://"),
        ({"host": "0.0.0.0"}, "is not a loopback address and there are no API keys"),
        ({"max_attempts": 0}, "greater than or equal to 1"),
    ],
)
def test_a_bad_setting_is_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        Settings(**knobs)
    assert SECRET not in str(refused.value)


def test_the_queues_password_is_not_shown() -> None:
    settings = Settings(redis_url=f"redis://:{SECRET}@queue:6379/0")
    assert SECRET not in f"{settings!r} {settings}"


@pytest.mark.parametrize("command", ["api", "worker"])
def test_half_a_service_needs_a_queue_between_machines(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", "service", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{command} alone needs the queue between machines: --redis-url redis://HOST:6379/0" in done.stderr


def refused(*flags: str, **variables: str) -> str:
    """The one line that a service says which cannot start."""
    command = [sys.executable, "-m", "service", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("flags", "variables", "said"),
    [
        ((), {"FIVEFOLD_PROT": "9000"}, "FIVEFOLD_PROT is no setting; the nearest one is FIVEFOLD_PORT"),
        ((), {"FIVEFOLD_MODEL": "a"}, "FIVEFOLD_MODEL is no setting; the nearest one is FIVEFOLD_MODELS"),
        (("--store", "/nowhere"), {}, "store /nowhere: no such folder"),
        (("--models", "flow-shuttle,nobody"), {}, "nobody"),
        (("--max-rows", "0"), {}, "max_rows: Input should be greater than or equal to 1"),
        ((), {"FIVEFOLD_REDIS_URL": f"redis://:{SECRET}#rest@127.0.0.1:6399/0"}, "redis_url: give the address"),
        ((), {"FIVEFOLD_REDIS_URL": f"redis://:{SECRET}/rest@127.0.0.1:6399/0"}, "redis_url: give the address"),
        ((), {"FIVEFOLD_HOST": "0.0.0.0"}, "0.0.0.0 is not a loopback address and there are no API keys"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(flags: tuple[str, ...], variables: dict[str, str], said: str) -> None:
    line = refused(*flags, **variables)
    assert said in line
    assert SECRET not in line


def test_a_port_in_use_is_told_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused("--port", str(port)).startswith(f"port {port} of 127.0.0.1: Address already in use")


@pytest.mark.parametrize("given", ["a,b", " a , b ", '["a", "b"]'])
def test_lists_are_names_with_commas_or_json(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIVEFOLD_MODELS", given)
    assert Settings().models == ("a", "b")
    monkeypatch.delenv("FIVEFOLD_MODELS")
    assert read_settings(["--models", given]).models == ("a", "b")


def test_flags_are_named_as_the_settings_and_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIVEFOLD_PORT", "1")
    assert read_settings(["--port", "2", "--device", "cpu"]).port == 2
    assert set(read_settings([]).model_fields_set) == {"port"}


def test_the_clients_own_variables_are_known() -> None:
    read_settings([], {"FIVEFOLD_URL": "http://127.0.0.1:1", "FIVEFOLD_API_KEY": "k"})


def test_cpus_are_those_that_the_process_may_use(tmp_path: Path) -> None:
    whole = usable_cpus(tmp_path)
    assert whole == len(os.sched_getaffinity(0))
    for quota, cpus in (("50000 100000", 1), ("max 100000", whole), ("100000 100000", 1)):
        (tmp_path / "cpu.max").write_text(quota)
        assert usable_cpus(tmp_path) == cpus
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    for name, value in (("quota", "100000"), ("period", "100000")):
        (tmp_path / "cpu" / f"cpu.cfs_{name}_us").write_text(value)
    assert usable_cpus(tmp_path) == 1
