"""What is served: one reading at a time, formats that all workers read, models that are available but not loaded."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import structlog
import toy

from fivefold.errors import NotReady
from model_store.store import Model, ModelRef, Store
from service.api.execution.catalogue import Catalogue
from service.costs import CostCurve
from service.jobs import FORMATS, block_of
from service.settings import Settings
from service.workers import ServedModel, WorkerStatus

COSTS = {"scale": CostCurve(0.5, 0.25)}


class Workers:
    """The catalogue's view of a queue: these heartbeats."""

    def __init__(self, *statuses: WorkerStatus) -> None:
        self.statuses = statuses

    async def workers(self) -> Sequence[WorkerStatus]:
        return self.statuses

    async def aliases(self) -> Mapping[str, str]:
        return {}


def status(name: str, *models: ServedModel, formats: tuple[int, ...] = FORMATS) -> WorkerStatus:
    return WorkerStatus(name, "cpu", "here", models, formats=formats)


def catalogue_of(store: Store, *statuses: WorkerStatus) -> Catalogue:
    return Catalogue(Settings(store=store.root), store, Workers(*statuses), clock=lambda: 1.0)


@pytest.fixture
def model(toy_store: Store) -> Model:
    return toy_store.resolve("toy-affine")


async def test_a_reading_that_is_replaced_while_it_is_waited_for_fails_no_request() -> None:
    class Late(Catalogue):
        """Each reading is out of date as soon as it ends, and a request comes before those that waited for it."""

        async def _read(self) -> None:
            await asyncio.sleep(0)
            self._seen_at = -1.0
            if not newcomers:
                asyncio.get_running_loop().call_soon(lambda: newcomers.append(asyncio.ensure_future(self.workers())))

    newcomers: list[asyncio.Future[object]] = []
    catalogue = Late(Settings(), Store(Path()), Workers(), clock=lambda: 0.0)
    await asyncio.gather(*(catalogue.workers() for _ in range(4)))
    assert len(newcomers) == 1
    await newcomers[0]


async def test_jobs_have_the_newest_format_that_all_workers_read(toy_store: Store, model: Model) -> None:
    served = ServedModel(model.ref, COSTS)
    newest = max(FORMATS)
    both = catalogue_of(toy_store, status("a", served, formats=(newest, newest + 1)), status("b", served))
    assert (await both.find("toy-affine", "toy")).format == newest
    apart = catalogue_of(toy_store, status("a", served, formats=(newest + 1,)))
    with pytest.raises(NotReady, match=f"formats {newest}, all of its workers read {newest + 1}"):
        _ = (await apart.find("toy-affine", "toy")).format


async def test_a_model_that_is_not_loaded_is_served_and_ready(toy_store: Store, model: Model) -> None:
    loaded, available = (ServedModel(model.ref, COSTS, loaded=state) for state in (True, False))
    alone = catalogue_of(toy_store, status("a", available))
    assert await alone.reasons_not_ready() == []
    assert not (await alone.find("toy-affine", "toy")).as_served.loaded
    for pair in ((loaded, available), (available, loaded)):
        several = catalogue_of(toy_store, *(status(str(place), one) for place, one in enumerate(pair)))
        assert (await several.find("toy-affine", "toy")).as_served.loaded


async def test_the_predicted_time_is_that_of_the_blocks_own_graphs(toy_store: Store, model: Model) -> None:
    served = await catalogue_of(toy_store, status("a", ServedModel(model.ref, COSTS))).find("toy-affine", "toy")
    assert served.predicted_seconds(block_of(toy.ToyScaling(), 4)) == 0.5 + 4 * 0.25


async def test_versions_are_listed_as_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    models = [toy.publish_toy(store, version=version) for version in ("9", "10")]
    catalogue = catalogue_of(store, status("a", *(ServedModel(model.ref, COSTS) for model in models)))
    assert [served.model.ref.version for served in await catalogue.served()] == ["9", "10"]


async def test_what_the_own_store_lacks_is_logged_once(toy_store: Store) -> None:
    elsewhere = ServedModel(ModelRef("elsewhere", "1", "0" * 64), COSTS)
    now = iter(range(1000))
    catalogue = catalogue_of(toy_store, WorkerStatus("a", "cpu", "here", (elsewhere,), beat_at=1e9))
    catalogue.clock = lambda: float(next(now))
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert await catalogue.served() == []
    assert [(log["event"], log["model"], log["worker"]) for log in logs] == [
        ("served_model_not_in_store", "elsewhere@1", "a")
    ]
