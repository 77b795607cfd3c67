"""The transformer's recipe as a toy: train, export, publish, and what is published keeps its promises."""

import io
import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import recipes
import torch
from PIL import Image
from recipes import Trained, published

from model_store.golden import unpack
from model_store.manifest import TransformerParams
from model_store.store import Model
from training.export import Exported
from training.transformer.corpus import Corpus
from training.transformer.graphs import CachedTransformer, greedy
from training.transformer.measure import compressor_metrics, likelihood_metrics
from training.transformer.model import Transformer
from training.transformer.recipe import PROMPTS, TransformerRecipe

RECIPE = TransformerRecipe().quick()


@pytest.fixture(scope="module")
def text() -> Corpus:
    return RECIPE.load(Path("nowhere"))


@pytest.fixture(scope="module")
def network(trained: Trained) -> Transformer:
    found = recipes.network(RECIPE.name, trained(RECIPE.name))
    assert isinstance(found, Transformer)
    return found


@pytest.fixture(scope="module")
def model(trained: Trained) -> Model:
    return published(RECIPE.name, trained(RECIPE.name))


def writer(model: Model) -> CachedTransformer:
    graphs = {name: Exported(model.graph(name), spec) for name, spec in model.manifest.graphs.items()}
    return CachedTransformer(graphs, params(model))


def params(model: Model) -> TransformerParams:
    assert isinstance(model.manifest.params, TransformerParams)
    return model.manifest.params


def test_training_lowers_the_loss(text: Corpus, network: Transformer) -> None:
    torch.manual_seed(0)
    generator = torch.Generator()
    with torch.no_grad():
        before, after = (float(RECIPE.loss(each, text.held_out, generator)) for each in (RECIPE.network(text), network))
    assert before == pytest.approx(math.log(RECIPE.vocabulary_size), abs=0.3)
    assert after < before - 1


def test_both_graphs_declare_bitwise_rows(model: Model) -> None:
    exactness = {name: spec.exactness for name, spec in model.manifest.graphs.items()}
    assert exactness == {"prefill": "bitwise", "decode": "bitwise"}


@pytest.mark.parametrize("graph", ["prefill", "decode"])
def test_the_graphs_have_the_tensors_that_the_service_expects(model: Model, graph: str) -> None:
    spec, p = model.manifest.graphs[graph], params(model)
    count = p.chunk if graph == "prefill" else 1
    cache, new = (("batch", p.layers, p.kv_heads, tokens, p.head_size) for tokens in (p.capacity, count))
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in spec.inputs} == {
        "input_ids": ("int64", ("batch", count)),
        "position": ("int64", ("batch",)),
        "past_key": ("float32", cache),
        "past_value": ("float32", cache),
    }
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in spec.outputs} == {
        "logits": ("float32", ("batch", count, p.vocabulary_size)),
        "key": ("float32", new),
        "value": ("float32", new),
    }


def test_the_golden_text_is_the_likeliest_of_torch_and_of_the_graphs(model: Model, network: Transformer) -> None:
    golden = unpack(model, "generate")
    prompt, wanted = golden.inputs["prompt_ids"].tolist(), golden.outputs["greedy_ids"].tolist()
    assert prompt == model.tokenizer.encode(PROMPTS[0])
    assert greedy(network, prompt, len(wanted)) == wanted
    found = writer(model).generate(prompt, 0.0, np.random.default_rng(0))
    assert list(islice(found, len(wanted))) == wanted


def test_a_text_ends_where_the_context_is_full(model: Model) -> None:
    prompt = [1] * (params(model).capacity - 3)
    # Three more are read, and each of the four texts from then on has a next token.
    assert len(list(writer(model).generate(prompt, 1.0, np.random.default_rng(0)))) == 4


def test_the_temperature_flattens_the_choice(model: Model) -> None:
    def choices(temperature: float) -> int:
        random, drawer = np.random.default_rng(0), writer(model)
        return len({next(drawer.generate([5, 6, 7], temperature, random)) for _ in range(60)})

    assert choices(0.0) == 1 < choices(0.2) < choices(100.0)


def test_the_published_tokenizer_has_the_vocabulary_of_the_model(model: Model) -> None:
    tokenizer = model.tokenizer
    assert tokenizer.vocabulary_size == params(model).vocabulary_size == RECIPE.vocabulary_size
    assert tokenizer.token_bytes(params(model).end_of_text) == b""


def test_held_out_losses_are_sorted_nats_per_token(model: Model, text: Corpus) -> None:
    scores = model.arrays("calibration.npz")["nats_per_token_held_out"]
    assert len(scores) == len(text.held_out[0])
    assert bool((np.diff(scores) >= 0).all())
    assert float(scores.mean()) == pytest.approx(model.manifest.metrics["loss_held_out_nats"], rel=1e-4)


def test_the_samples_are_a_picture_and_the_card_names_every_metric(model: Model) -> None:
    Image.open(io.BytesIO(model.file("samples.png"))).verify()
    card = model.file("card.md").decode()
    assert all(name in card for name in model.manifest.metrics)


def test_eight_bits_for_each_of_two_bytes_of_a_token_are_four_bits_per_byte() -> None:
    metrics = likelihood_metrics(torch.full((3, 2), 8 * math.log(2)), bytes(12))
    assert metrics["bits_per_byte_test"] == pytest.approx(4.0)
    assert metrics["perplexity_test"] == pytest.approx(256.0)


def test_a_compressor_that_has_read_the_text_before_needs_less_for_it() -> None:
    data = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    metrics = compressor_metrics(data, known=data)
    assert metrics["bits_per_byte_test_gzip"] == pytest.approx(8.0, rel=0.02)
    assert metrics["bits_per_byte_test_lzma_after_training_text"] < 0.5
