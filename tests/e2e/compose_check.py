"""`make compose-check`: the compose file for real. Built, started, put under load, killed, taken down.

COMPOSE_FILE may name overrides. Without a Docker engine it is skipped; with REQUIRE_DOCKER=1 it fails.
"""

import asyncio
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from containers import compose, containers, docker, inspect, kill, stop
from mixed import load, receipts

from docs.readme import ROOT

pytestmark = pytest.mark.timeout(1800)
WORKERS, MAX_IMAGE_MB = 2, 600
COMPILERS = ("cc", "gcc", "g++", "clang", "as", "ld", "make")
INSIDE = f"""
import errno, importlib.util, json, os, shutil
def read_only(path):
    try: open(path, "w")
    except OSError as error: return errno.errorcode[error.errno]
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({{
    "user": os.getuid(),
    "write": [read_only(path) for path in ("/app/x", "/venv/x", "/usr/x", "/app/model_store/models/x")],
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "modules": [name for name in ("torch", "onnxruntime") if importlib.util.find_spec(name)],
    "compilers": [name for name in {COMPILERS} if shutil.which(name)],
}}))
"""


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    """A Docker engine that answers, or an end that says so."""
    command = ["docker", "info", "--format", "{{.ServerVersion}}"]
    if shutil.which("docker") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        end = pytest.fail if os.environ.get("REQUIRE_DOCKER") == "1" else pytest.skip
        end("no Docker engine answers: nothing was built or started")


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The published API, with two workers; taken down at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIVEFOLD_PUBLISH", "127.0.0.1:0")
        try:
            compose("up", "--build", "--detach", "--wait", "--scale", f"worker={WORKERS}")
            yield f"http://{compose('port', 'api', '8000').strip()}"
        finally:
            if request.session.testsfailed:
                print(compose("ps", "--all"), compose("logs", "--tail", "50"))
            compose("down", "--volumes", "--timeout", "5")


async def test_every_family_answers_through_the_published_port(url: str) -> None:
    first = {operation.family: (operation, request) for operation, request in reversed(load())}
    assert len(first) == 5
    await receipts(url, list(first.values()), at_once=1)
    print(f"\nanswered: {', '.join(sorted(first))}")


async def test_killed_workers_and_a_killed_queue_lose_nothing(url: str) -> None:
    calls = load()
    alone = await receipts(url, calls, at_once=1)
    order = random.Random(1).choices(range(len(calls)), k=3000)
    first, second = containers("worker")
    (queue,) = containers("valkey")
    faults = {200: lambda: kill(first), 700: lambda: kill(queue), 1200: lambda: stop(second), 1700: lambda: kill(queue)}
    answered, left = 0, {}

    def one_more() -> None:
        nonlocal answered
        answered += 1
        if answered in faults:
            faulting.append(asyncio.create_task(during(answered)))

    async def during(place: int) -> None:
        await asyncio.to_thread(faults[place])
        left[place] = len(order) - answered

    faulting: list[asyncio.Task[None]] = []
    began = time.monotonic()
    together = await receipts(url, [calls[index] for index in order], 32, max_retries=12, answered=one_more)
    await asyncio.gather(*faulting)
    assert together == [alone[index] for index in order]
    assert "request_failed" not in compose("logs", "api"), "a retry hid an error that is our fault"
    assert left.keys() == faults.keys()
    assert all(left.values()), "every fault was over while there was work left"
    print(f"\n{len(order)} requests in {time.monotonic() - began:.1f} s through {len(faults)} faults: none lost")
    print(f"left when each fault was over: {list(left.values())}")


@pytest.mark.parametrize("service", ["api", "worker", "valkey"])
def test_a_container_is_confined(url: str, service: str) -> None:
    password = (ROOT / "docker" / "secrets" / "valkey_conf").read_text().split()[1]
    for container in containers(service):
        found = inspect(container)
        host = found["HostConfig"]
        assert (found["Config"]["User"], host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (
            "999:999" if service == "valkey" else "10001:10001",
            True,
            ["ALL"],
            ["no-new-privileges:true"],
        )
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        assert password not in json.dumps(found), "the password stands in a file alone"
        addresses = [place["HostIp"] for places in host["PortBindings"].values() for place in places]
        assert addresses == (["127.0.0.1"] if service == "api" else [])


@pytest.mark.parametrize(("service", "modules"), [("api", []), ("worker", ["onnxruntime"])])
def test_a_process_can_write_nowhere_and_finds_neither_torch_nor_a_compiler(
    url: str, service: str, modules: list[str]
) -> None:
    assert json.loads(compose("exec", "--no-TTY", service, "python", "-c", INSIDE)) == {
        "user": 10001,
        "write": ["EROFS"] * 4,
        "capabilities": 0,
        "no_new_privileges": "1",
        "modules": modules,
        "compilers": [],
    }


def test_the_queue_answers_nobody_without_the_password(url: str) -> None:
    assert "NOAUTH" in compose("exec", "--no-TTY", "valkey", "valkey-cli", "dbsize")


@pytest.mark.parametrize("service", ["api", "worker"])
def test_an_image_is_small(url: str, service: str) -> None:
    megabytes = json.loads(docker("image", "inspect", inspect(containers(service)[0])["Image"]))[0]["Size"] / 1e6
    print(f"\n{service} image: {megabytes:.0f} MB")
    assert megabytes < MAX_IMAGE_MB
