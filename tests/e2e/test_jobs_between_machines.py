"""Jobs over a queue between machines: submitted to one replica, followed, resumed and cancelled at the other."""

import time
from collections.abc import Iterator

import httpx
import pytest
from machines import Machines, machines

from fivefold import Client, errors
from fivefold.diffusion import SAMPLE, DiffusionSampleRequest
from fivefold.operation import NPY_TYPE, PNG_TYPE

MODELS = '["diffusion-fashion", "vae-fashion", "transformer-english"]'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("queue"), replicas=2, workers=2, models=MODELS) as running:
        yield running


@pytest.fixture
def replicas(fleet: Machines) -> Iterator[tuple[Client, Client]]:
    with Client(fleet.urls[0]) as one, Client(fleet.urls[1]) as other:
        yield one, other


def test_a_job_of_one_replica_is_answered_by_the_other(replicas: tuple[Client, Client]) -> None:
    one, other = replicas
    request = DiffusionSampleRequest(class_name="bag", seed=7, steps=6)
    called, job = one.call(SAMPLE, request), one.submit(SAMPLE, request)
    elsewhere = other.job(job.id)
    assert elsewhere.wait(timeout=60).items == called.items
    assert elsewhere.wait().meta.receipt == called.meta.receipt
    for media_type in (NPY_TYPE, PNG_TYPE):
        assert elsewhere.raw(media_type).content == one.raw(SAMPLE, request, media_type).content
    assert elsewhere.status() == job.status()
    assert next(iter(other.jobs())).id == job.id
    assert [chunk.step for chunk in elsewhere.events()] == [chunk.step for chunk in job.events()] == [*range(1, 7)]


def test_events_cut_at_one_replica_go_on_at_the_other(fleet: Machines, replicas: tuple[Client, Client]) -> None:
    one, other = fleet.urls
    job = replicas[0].transformer_generate.submit(prompt="Naïve — “", seed=3, max_tokens=24, temperature=1.5, n=2)
    whole = frames(one, job.id, "")
    assert whole[-1].startswith("event: done")
    for cut in range(1, len(whole)):
        assert whole[:cut] + frames(other, job.id, id_of(whole[cut - 1])) == whole


def frames(url: str, job_id: str, last: str) -> list[str]:
    headers = {"last-event-id": last} if last else {}
    answer = httpx.get(f"{url}/v1/jobs/{job_id}/events", headers=headers, timeout=60)
    assert answer.is_success, answer.text
    return [frame for frame in answer.text.split("\n\n") if frame]


def id_of(frame: str) -> str:
    return frame.split("\n")[1].removeprefix("id: ")


def test_many_rows_are_one_job_over_both_workers(replicas: tuple[Client, Client]) -> None:
    one, other = replicas
    called = one.vae_sample(n=600, seed=5)
    job = one.vae_sample.submit(n=600, seed=5)
    assert other.job(job.id).wait(timeout=60).meta.receipt == called.meta.receipt
    status = other.job(job.id).status()
    assert (status.state, status.rows, status.rows_finished, status.progress) == ("done", 600, 600, 1.0)


def test_a_job_is_cancelled_from_the_other_replica(replicas: tuple[Client, Client]) -> None:
    one, other = replicas
    job = one.diffusion_sample.submit(n=260, steps=10, seed=1)
    assert other.job(job.id).cancel().state == "cancelled"
    with pytest.raises(errors.Cancelled):
        job.wait(timeout=30)
    assert other.diffusion_sample(seed=1, steps=1).results


def test_an_alias_set_at_one_replica_is_known_at_the_other(replicas: tuple[Client, Client]) -> None:
    one, other = replicas
    one.admin.alias("vae-fashion", "stable", "1")
    give_up_at = time.monotonic() + 10
    while "stable" not in other.model("vae-fashion").aliases:
        assert time.monotonic() < give_up_at
    assert other.vae_sample(model="vae-fashion@stable", seed=1).meta.model.version == "1"


def test_both_workers_are_seen_from_everywhere(replicas: tuple[Client, Client]) -> None:
    seen = [{worker.id for worker in client.admin.queue().workers} for client in replicas]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2
    assert replicas[0].admin.dead() == []
