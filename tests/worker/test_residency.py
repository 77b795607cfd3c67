"""What is loaded, what is refused, and that one bad model does not stop the others."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import toy

from model_store.golden import GoldenMismatch
from model_store.manifest import GraphSpec
from model_store.store import Store, TamperedFile
from service.runtime import onnx
from service.settings import Settings
from service.worker.check import check, measure_exactness
from service.worker.residency import NotServed, Residency


@pytest.fixture
def residency(toy_store: Store) -> Residency:
    settings = Settings(intra_op_threads=1)
    return Residency(settings, toy_store, [toy.TOY], partial(onnx.load_graph, settings=settings))


def tamper(path: Path) -> tuple[str, str]:
    """Change one byte; the sha256 before and after."""
    before = path.read_bytes()
    after = before[:-1] + bytes([before[-1] ^ 1])
    path.write_bytes(after)
    return hashlib.sha256(before).hexdigest(), hashlib.sha256(after).hexdigest()


def other_graph(model, graph: str, **changes: object) -> GraphSpec:
    """Let the manifest in memory say something else of a graph."""
    spec = model.manifest.graphs[graph].model_copy(update=changes)
    model.manifest.graphs[graph] = spec
    return spec


def test_a_model_is_opened_with_its_sessions_and_the_costs_of_its_graphs(
    residency: Residency, toy_store: Store
) -> None:
    resident = residency.open(toy_store.resolve("toy-affine"))
    assert set(resident.sessions) == {toy.ToyScaling, toy.ToyCounting}
    assert set(resident.costs) == {"scale", "halve"}
    assert resident.device == "cpu"
    graphs = sum(len(resident.model.graph(name)) for name in resident.graphs)
    assert resident.size_bytes == graphs + toy.CountSession.memory_bytes


def test_a_changed_byte_is_refused_with_both_hashes(residency: Residency, toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    wanted, found = tamper(model.folder / "scale.onnx")
    with pytest.raises(TamperedFile, match=rf"{found}.*{wanted}"):
        residency.open(model)


def test_a_golden_that_does_not_replay_is_refused_with_both_figures(residency: Residency, toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    halve = model.manifest.graphs["halve"]
    model.manifest.graphs["scale"] = halve.model_copy(update={"golden_atol": 0.25})
    with pytest.raises(GoldenMismatch, match=r"scale: y deviates by 17\.5, the tolerance is 0\.25"):
        residency.open(model)
    assert residency.residents() == []


def test_one_bad_model_is_not_served_and_does_not_stop_the_others(residency: Residency, toy_store: Store) -> None:
    bad = toy.publish_toy(toy_store, "bad")
    broken = toy.publish_toy(toy_store, "broken")
    tamper(bad.folder / "halve.onnx")
    (broken.folder / "manifest.json").write_text("{}")
    opened = [residency.try_open(reference) for reference in residency.references()]
    assert [resident.ref.name for resident in opened if resident is not None] == ["toy-affine"]


def test_only_what_the_settings_name_is_served(toy_store: Store) -> None:
    toy.publish_toy(toy_store, "toy-affine", "2")
    toy.publish_toy(toy_store, "other")
    settings = Settings(intra_op_threads=1, models=("toy-affine@1",))
    residency = Residency(settings, toy_store, [toy.TOY], partial(onnx.load_graph, settings=settings))
    assert residency.references() == ["toy-affine@1"]


def test_a_family_that_is_not_registered_is_not_served(toy_store: Store) -> None:
    settings = Settings(intra_op_threads=1)
    residency = Residency(settings, toy_store, [], partial(onnx.load_graph, settings=settings))
    with pytest.raises(NotServed, match="'toy'"):
        residency.open(toy_store.resolve("toy-affine"))


def test_torchscript_is_skipped_unless_it_is_allowed(residency: Residency, toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    other_graph(model, "scale", format="torchscript")
    with pytest.raises(NotServed, match="FIVEFOLD_ALLOW_TORCHSCRIPT"):
        residency.open(model)


def test_an_unloaded_model_is_gone_and_can_come_back(residency: Residency, toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    residency.add(residency.open(model))
    assert residency.has(model.ref)
    residency.unload(model.ref)
    assert not residency.has(model.ref)
    assert residency.open(model).ref == model.ref


def test_the_check_reports_every_graph(residency: Residency) -> None:
    reports = list(check(residency))
    assert [(report.graph, report.measured, report.error) for report in reports] == [
        ("scale", "bitwise", ""),
        ("halve", "bitwise", ""),
    ]
    assert all(report.deviation == 0.0 for report in reports)


def test_the_check_reports_bad_models_and_goes_on(residency: Residency, toy_store: Store) -> None:
    bad = toy.publish_toy(toy_store, "bad")
    tamper(bad.folder / "halve.onnx")
    reports = list(check(residency))
    assert [(report.model, bool(report.error)) for report in reports] == [
        ("bad@1", True),
        ("toy-affine@1", False),
        ("toy-affine@1", False),
    ]
    assert "sha256" in reports[0].error


class CoupledGraph:
    """Its rows know each other: with `sized`, only how many there are."""

    device = "cpu"

    def __init__(self, spec: GraphSpec, sized: bool) -> None:
        self.spec, self.sized = spec, sized

    def __call__(self, **inputs: np.ndarray) -> dict[str, onnx.HostArray]:
        x = inputs["x"]
        # Below the tolerance of the golden, and still other bits.
        company = np.float32(len(x)) if self.sized else x.mean(dtype=np.float32)
        return {"y": onnx.HostArray(x * np.float32(2.0) + np.float32(1.0) + company * np.float32(1e-2))}


@pytest.mark.parametrize(("sized", "measured"), [(True, "bucketed"), (False, "token_equal")])
def test_the_check_finds_graphs_that_are_less_exact_than_they_declare(
    residency: Residency, toy_store: Store, sized: bool, measured: str
) -> None:
    model = toy_store.resolve("toy-affine")
    graph = CoupledGraph(model.manifest.graphs["scale"], sized)
    x = np.arange(12, dtype=np.float32).reshape(3, *toy.SHAPE)
    assert measure_exactness(graph, {"x": x}) == measured
