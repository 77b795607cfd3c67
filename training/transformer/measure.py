"""Measures a transformer: bits per byte beside general compressors, speed, and the picture of the card."""

import bz2
import gzip
import io
import lzma
import math
import textwrap
import time
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from model_store.tokenizer import Tokenizer
from training.checks import runner
from training.export import Exported
from training.transformer.model import Transformer
from training.transformer.objective import next_token_nats

CHUNK = 16  # windows at a time
REPEATS, CALLS = 5, 10


@torch.no_grad()
def nats_by_token(model: Transformer, windows: Tensor) -> Tensor:
    """-log p of the tokens after the first of each window [N, S + 1]: [N, S]."""
    return torch.cat([next_token_nats(model, part) for part in torch.split(windows, CHUNK)])


def text_bytes(windows: Tensor, tokenizer: Tokenizer) -> bytes:
    """The bytes of the tokens after the first of each window: those that `nats_by_token` scores."""
    return b"".join(map(tokenizer.token_bytes, windows[:, 1:].flatten().tolist()))


def likelihood_metrics(nats: Tensor, data: bytes) -> dict[str, float]:
    """Bits per byte of UTF-8, and perplexity per token; ends of texts are paid for and have no bytes."""
    mean = float(nats.double().mean())
    bits = float(nats.double().sum()) / math.log(2)
    return {"bits_per_byte_test": bits / len(data), "perplexity_test": math.exp(mean)}


def compressor_metrics(data: bytes, known: bytes) -> dict[str, float]:
    """Bits per byte of `data` by general compressors; the last has read `known` before."""
    sizes = {**packed_sizes(data), "lzma_after_training_text": _lzma_size(known + data) - _lzma_size(known)}
    return {f"bits_per_byte_test_{name}": 8 * size / len(data) for name, size in sizes.items()}


def packed_sizes(data: bytes) -> dict[str, int]:
    """The bytes that general compressors make of `data`, each at its best."""
    return {"gzip": len(gzip.compress(data, 9)), "bz2": len(bz2.compress(data, 9)), "lzma": _lzma_size(data)}


def _lzma_size(data: bytes) -> int:
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def speed_metrics(graphs: dict[str, Exported], example: Callable[[str, int], dict[str, Tensor]]) -> dict[str, float]:
    """Tokens per second of the bare graphs on one thread, the best of a few runs."""
    return {
        f"{name}_tokens_per_s_batch_{batch}": _tokens_per_s(graphs[name], example(name, batch))
        for name, batch in (("prefill", 1), ("decode", 1), ("decode", 16))
    }


def _tokens_per_s(graph: Exported, inputs: dict[str, Tensor]) -> float:
    run, arrays = runner(graph.data, graph.spec), {name: tensor.numpy() for name, tensor in inputs.items()}
    run(arrays)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(CALLS):
            run(arrays)
        seconds.append((time.perf_counter() - began) / CALLS)
    return inputs["input_ids"].numel() / min(seconds)


def picture(nats: Tensor, samples: list[str]) -> bytes:
    """A PNG: bits per token over the position in the context, and what the model writes."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    curve, page = figure.subplots(2, 1, height_ratios=(2, 5))
    bits = nats.double().mean(0).numpy() / math.log(2)
    curve.plot(np.arange(1, len(bits) + 1), bits)
    curve.set(xlabel="tokens of context", ylabel="bits per token", title="Test text: what the context is worth")
    page.axis("off")
    text = "\n\n".join(textwrap.fill(_printable(sample), 120) for sample in samples)
    page.text(0, 1, text.replace("$", r"\$"), va="top", family="monospace", size=7)
    FigureCanvasAgg(figure).print_png(buffer := io.BytesIO())  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _printable(text: str) -> str:
    """What the font can draw."""
    return "".join(character if character.isascii() and character.isprintable() else " " for character in text)
