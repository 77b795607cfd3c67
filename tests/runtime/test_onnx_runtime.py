"""ONNX graphs: what is refused before a session opens, and what a session answers on the host and by IO binding."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from model_store.manifest import GraphSpec, TensorSpec
from service.runtime.binding import BoundArray, BoundGraph, bucket, memory_errors, pad
from service.runtime.onnx import (
    HostArray,
    UnusableGraph,
    choose_device,
    instruction_set,
    load_graph,
    providers,
    scope,
    session_options,
)
from service.runtime.onnx_format import references
from service.settings import Settings

SETTINGS = Settings(intra_op_threads=1, device="cpu")
CPU_ONLY = ["AzureExecutionProvider", "CPUExecutionProvider"]
WITH_CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]


def affine_spec(**changes: object) -> GraphSpec:
    tensor = {side: TensorSpec(name=side, dtype="float32", shape=("batch", *toy.SHAPE)) for side in ("x", "y")}
    fields = {
        "file": "affine.onnx",
        "sha256": "0" * 64,
        "size_bytes": 0,
        "format": "onnx",
        "inputs": (tensor["x"],),
        "outputs": (tensor["y"],),
        "golden_atol": 1e-6,
    }
    return GraphSpec.model_validate({**fields, **changes})


def rows(count: int) -> np.ndarray:
    return np.arange(4 * count, dtype=np.float32).reshape(count, *toy.SHAPE)


def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    """The affine model, changed."""
    model = onnx.ModelProto.FromString(toy.affine_graph(2.0, 1.0))
    change(model)
    return model.SerializeToString()


def test_a_graph_answers_by_the_names_of_its_manifest() -> None:
    graph = load_graph(toy.affine_graph(2.0, 1.0), affine_spec(), SETTINGS)
    assert graph.device == "cpu"
    np.testing.assert_array_equal(graph(x=rows(3))["y"].numpy(), 2.0 * rows(3) + 1.0)


def test_one_graphs_output_is_anothers_input() -> None:
    graph = load_graph(toy.affine_graph(2.0, 1.0), affine_spec(), SETTINGS)
    np.testing.assert_array_equal(graph(x=graph(x=rows(2))["y"])["y"].numpy(), 4.0 * rows(2) + 3.0)


# What is refused


def message(field: int, data: bytes) -> bytes:
    """A field of a protobuf message that holds these bytes."""
    size, length = len(data), bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([field << 3 | 2, *length, size]) + data


def nested(depth: int) -> bytes:
    """A model of subgraph within subgraph: Graph.node (1) -> Node.attribute (5) -> Attribute.g (6)."""
    data = b""
    for _ in range(depth):
        data = message(1, message(5, message(6, data)))
    return message(7, data)


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def external_in_a_subgraph(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("inner", TensorProto.FLOAT, [], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    branch = helper.make_graph([], "branch", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["t"], ["u"], then_branch=branch, else_branch=branch))


def external_in_a_constant(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("value", TensorProto.FLOAT, [], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


@pytest.mark.parametrize("change", [external, external_in_a_subgraph, external_in_a_constant])
def test_weights_in_other_files_are_refused(change: Callable[[onnx.ModelProto], None]) -> None:
    with pytest.raises(UnusableGraph, match=r"affine\.onnx keeps weights in other files"):
        load_graph(changed(change), affine_spec(), SETTINGS)


def foreign_node(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.evil"


def foreign_import(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.evil", 1))


def foreign_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Anything", ["a"], ["b"], domain="com.evil")
    model.functions.append(helper.make_function("local", "f", ["a"], ["b"], [node], [helper.make_opsetid("", 21)]))


@pytest.mark.parametrize("change", [foreign_node, foreign_import, foreign_function])
def test_operators_of_foreign_domains_are_refused(change: Callable[[onnx.ModelProto], None]) -> None:
    with pytest.raises(UnusableGraph, match=r"com\.evil"):
        load_graph(changed(change), affine_spec(), SETTINGS)


def test_operators_of_the_runtime_itself_are_allowed() -> None:
    data = changed(lambda model: model.opset_import.append(helper.make_opsetid("com.microsoft", 1)))
    assert references(data).domains >= {"com.microsoft"}
    load_graph(data, affine_spec(), SETTINGS)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_model_give_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(UnusableGraph):
        load_graph(data, affine_spec(), SETTINGS)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_broken_model_never_breaks_the_reader(at: int, flip: int) -> None:
    data = bytearray(toy.affine_graph(2.0, 1.0))
    data[at % len(data)] ^= flip
    with suppress(ValueError):
        references(bytes(data))


@pytest.mark.parametrize("data", [b"\x80" * 100, nested(1000)], ids=["an endless number", "a thousand subgraphs"])
def test_hostile_nesting_and_numbers_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an ONNX model|more than 10 bytes"):
        references(data)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"inputs": (TensorSpec(name="z", dtype="float32", shape=("batch", *toy.SHAPE)),)}, "'z'"),
        ({"inputs": (TensorSpec(name="x", dtype="float16", shape=("batch", *toy.SHAPE)),)}, "float16"),
        ({"outputs": (TensorSpec(name="y", dtype="float32", shape=("batch", 1, 2, 3)),)}, "3"),
        ({"outputs": (TensorSpec(name="y", dtype="float32", shape=("batch", 4)),)}, "4"),
    ],
)
def test_tensors_that_are_not_the_manifests_are_refused_with_both(changes: dict[str, object], named: str) -> None:
    with pytest.raises(UnusableGraph, match=rf"float32.*the manifest says.*{named}"):
        load_graph(toy.affine_graph(2.0, 1.0), affine_spec(**changes), SETTINGS)


# Where it runs


def test_the_device_is_cuda_where_there_is_one_unless_told_otherwise() -> None:
    assert choose_device("auto", CPU_ONLY) == "cpu"
    assert choose_device("auto", WITH_CUDA) == "cuda"
    assert choose_device("cpu", WITH_CUDA) == "cpu"
    assert choose_device("cuda", WITH_CUDA) == "cuda"


def test_cuda_without_a_provider_is_refused_with_the_way_out() -> None:
    with pytest.raises(UnusableGraph, match=r"CPUExecutionProvider.*FIVEFOLD_DEVICE=auto"):
        choose_device("cuda", CPU_ONLY)


def test_cuda_runs_without_tf32_and_without_algorithms_chosen_by_time() -> None:
    (cuda, options), (fallback, _) = providers("cuda")
    assert (cuda, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options == {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}
    assert [name for name, _ in providers("cpu")] == ["CPUExecutionProvider"]


@pytest.mark.parametrize("spinning", [True, False])
def test_threads_and_spinning_are_those_of_the_settings(spinning: bool) -> None:
    options = session_options(Settings(intra_op_threads=3, allow_spinning=spinning))
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.use_deterministic_compute
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(int(spinning))


def test_the_scope_names_runtime_device_and_instruction_set(tmp_path: Path) -> None:
    assert scope(SETTINGS) == f"onnxruntime {onnxruntime.__version__}, cpu, {instruction_set()}"
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx2 avx512f avx512_vnni\n")
    assert instruction_set(cpuinfo) == "avx512_vnni"
    assert instruction_set(tmp_path / "missing")


# Batches on a device


@given(st.integers(1, 5000))
def test_a_bucket_is_the_next_power_of_two(count: int) -> None:
    assert count <= bucket(count) < 2 * count
    assert bucket(count).bit_count() == 1


@given(st.integers(1, 9), st.integers(0, 9))
def test_padding_repeats_the_last_row_and_keeps_the_others(count: int, missing: int) -> None:
    padded = pad(rows(count), count + missing)
    np.testing.assert_array_equal(padded[:count], rows(count))
    assert all((row == rows(count)[-1]).all() for row in padded[count:])
    assert len(padded) == count + missing


@pytest.fixture
def bound() -> BoundGraph:
    """IO binding as on a GPU, with the host as the device."""
    session = onnxruntime.InferenceSession(
        toy.affine_graph(2.0, 1.0), session_options(SETTINGS), providers=providers("cpu")
    )
    return BoundGraph(session, affine_spec(), "cpu")


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_bound_graph_answers_for_its_own_rows_only(bound: BoundGraph, count: int) -> None:
    np.testing.assert_array_equal(bound(x=rows(count))["y"].numpy(), 2.0 * rows(count) + 1.0)


def test_a_bound_graphs_output_goes_into_the_next_without_leaving_the_device(bound: BoundGraph) -> None:
    first = bound(x=rows(3))["y"]
    assert isinstance(first, BoundArray)
    assert first.value.shape() == [4, *toy.SHAPE]
    np.testing.assert_array_equal(bound(x=first)["y"].numpy(), 4.0 * rows(3) + 3.0)


def test_a_bound_graph_takes_the_host_arrays_of_another(bound: BoundGraph) -> None:
    np.testing.assert_array_equal(bound(x=HostArray(rows(3)))["y"].numpy(), 2.0 * rows(3) + 1.0)


def test_what_is_about_memory_becomes_a_memory_error_and_nothing_else_does() -> None:
    with pytest.raises(MemoryError, match="Failed to allocate"), memory_errors():
        raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 9")
    with pytest.raises(RuntimeError, match="shape"), memory_errors():
        raise RuntimeError("unexpected shape")
