"""`fivefold jobs`, `job` and `queue`: what a client sees of its jobs, and an operator of the queue."""

import asyncio
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from commands import good, process, refused
from served import Gate, Service, serving
from toy import COUNT, SCALE, ToyCountRequest, ToyScaleRequest

from fivefold import Client
from fivefold.cli import app
from fivefold.operation import NPY_TYPE
from fivefold.vae import SAMPLE
from model_store.store import Store


@pytest.fixture(autouse=True)
def client(shipped_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("FIVEFOLD_URL", shipped_url)
    with Client(shipped_url) as client:
        yield client


def test_jobs_are_listed_newest_first(client: Client) -> None:
    ids = [client.vae_sample.submit(seed=seed).id for seed in range(2)]
    lines = good("jobs").stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["job", ids[1], ids[0]]
    assert lines[1].split()[1] == SAMPLE.path
    records = [json.loads(line) for line in good("jobs", "--json").stdout.splitlines()]
    assert [record["id"] for record in records[:2]] == ids[::-1]


def test_a_job_is_shown_and_its_result_saved_as_its_suffix_says(client: Client, tmp_path: Path) -> None:
    handle = client.vae_sample.submit(seed=3)
    answer = handle.wait()
    shown = good("job", handle.id).stdout
    assert "done" in shown
    assert handle.id in shown
    assert json.loads(good("job", handle.id, "--json").stdout)["state"] == "done"
    for suffix, content in {
        "png": answer.results[0].image.data,
        "npy": client.raw(SAMPLE, SAMPLE.request(seed=3), NPY_TYPE).content,
    }.items():
        good("job", handle.id, "-o", tmp_path / f"x.{suffix}")
        assert (tmp_path / f"x.{suffix}").read_bytes() == content
    good("job", "-o", tmp_path / "x.json")  # the newest is the same
    assert SAMPLE.answer.model_validate_json((tmp_path / "x.json").read_bytes()) == answer


def test_following_waits_for_the_end(client: Client, tmp_path: Path) -> None:
    handle = client.vae_sample.submit(n=64, seed=1)
    good("job", handle.id, "--follow", "-o", tmp_path / "all.npy")
    assert (tmp_path / "all.npy").read_bytes() == handle.raw(NPY_TYPE).content
    done = process("job", handle.id, "--follow", "--json")
    assert (done.returncode, json.loads(done.stdout)["progress"]) == (0, 1.0)


def test_what_cannot_be_is_one_line(client: Client, tmp_path: Path) -> None:
    assert refused("job", "x", exit_code=1).startswith("not_found: there is no job 'x'")
    assert "suffix '.gif' given: name a file that ends in .json, .npy" in refused("job", "-o", tmp_path / "x.gif")
    two = client.vae_sample.submit(n=2)
    two.wait()
    assert refused("job", two.id, "-o", tmp_path / "x.png", exit_code=1).startswith("not_acceptable: 2 images asked")
    assert refused("queue", "replay", "x", exit_code=1).startswith("not_found: there is no dead job 'x'")
    assert refused("queue", "drain", "x", exit_code=1).startswith("not_found: there is no worker 'x'")


def test_an_operator_sees_models_workers_and_dead_jobs(client: Client) -> None:
    shown = good("queue").stdout
    assert "vae-fashion@1" in shown
    assert "0 dead jobs" in shown
    queue = json.loads(good("queue", "--json").stdout)
    assert queue["workers"][0]["id"] in shown
    assert {model["model"] for model in queue["models"]} >= {"vae-fashion@1", "flow-shuttle@1"}
    assert good("queue", "dead", "--json").stdout == ""
    assert good("queue", "dead").stdout.split() == ["job", "tenant", "operation", "rows", "attempts", "reason"]


@pytest.fixture
def toy_service(toy_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gate, Service, Client]]:
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, Client(service.url) as client:
        monkeypatch.setenv("FIVEFOLD_URL", service.url)
        yield gate, service, client
        gate.opened.set()


def test_dead_jobs_are_replayed_and_workers_drained(toy_service: tuple[Gate, Service, Client]) -> None:
    gate, service, client = toy_service
    broker = service.worker.broker
    limits = broker._ledger.limits
    broker._ledger.limits = replace(limits, lease_seconds=-1.0, max_attempts=1)
    handle = client.submit(SCALE, ToyScaleRequest(rows=[[0.0] * 4]))
    assert gate.reached.wait(10)
    asyncio.run(broker.take(["toy-affine@1"], budget=0.0, wait=0.0))
    broker._ledger.limits = limits
    gate.opened.set()
    assert "1 dead jobs: see `fivefold queue dead`" in good("queue").stdout
    assert handle.id in good("queue", "dead").stdout
    assert good("queue", "replay", handle.id).stderr == f"{handle.id} is queued again\n"
    assert handle.wait().results[0].row == [1.0] * 4
    ordered = json.loads(good("queue", "drain", service.worker.id, "--json").stdout)
    assert ordered == {"action": "drain", "workers": [service.worker.id]}
    assert good("queue", "drain").stderr.startswith("draining: ")


def test_without_jobs_there_is_no_newest(toy_service: tuple[Gate, Service, Client]) -> None:
    assert refused("job", exit_code=1).startswith("not_found: there are no jobs")
    assert len(good("jobs").stdout.splitlines()) == 1


def test_an_operation_that_the_command_line_does_not_know_is_told(toy_service: tuple[Gate, Service, Client]) -> None:
    handle = toy_service[2].submit(COUNT, ToyCountRequest(seed=1))
    assert "operation /v1/toy/count is not known here" in refused("job", handle.id)


def test_a_job_is_cancelled(client: Client) -> None:
    handle = client.vae_sample.submit(n=4000)
    assert "cancelled" in good("job", handle.id, "--cancel").stdout


def test_the_help_of_queue_and_its_commands_has_examples() -> None:
    (group,) = [one for one in app.registered_groups if one.name == "queue"]
    for command in group.typer_instance.registered_commands:
        shown = good("queue", command.callback.__name__, "--help").stdout
        assert f"fivefold queue {command.callback.__name__}" in shown.split("Examples")[1]
        assert "--url" in shown
        assert "--json" in shown
    shown = good("queue", "--help").stdout
    for line in (group.typer_instance.registered_callback.epilog or "").split("\n\n")[1:]:
        assert line in shown
        good(*shlex.split(line)[1:])
    assert isinstance(group.typer_instance, typer.Typer)
