"""transformer-english: configuration, graphs and metrics of a small GPT of English prose."""

from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from model_store.golden import Golden
from model_store.manifest import TransformerParams
from model_store.tokenizer import TOKENIZER, Tokenizer
from training.checks import ExportRefused
from training.data import Data
from training.export import Exported, record
from training.loop import LoopConfig
from training.publish import Artefacts, Description
from training.transformer.corpus import Corpus, corpus, english, toy_prose
from training.transformer.graphs import CachedTransformer, Examples, export, greedy
from training.transformer.measure import (
    compressor_metrics,
    likelihood_metrics,
    nats_by_token,
    picture,
    speed_metrics,
    text_bytes,
)
from training.transformer.model import Shape, Transformer
from training.transformer.objective import next_token_nats
from training.transformer.tokenizer import END_OF_TEXT

CONFIG = LoopConfig(
    steps=1800,
    batch_size=16,
    learning_rate=8e-3,
    warmup_steps=60,
    decay="linear",
    ema_decay=0.99,
    optimizer="muon",
    checkpoint_every=100,
)
GOLDEN_ROWS = {"prefill": 1, "decode": 3}
PROMPTS = ("The people of the United States", "It is a truth universally acknowledged,", "My dear Emma,")


@dataclass(frozen=True)
class TransformerRecipe:
    """Next-token prediction on windows of `shape.capacity` tokens, from a byte-level BPE vocabulary."""

    name: str = "transformer-english"
    config: LoopConfig = CONFIG
    shape: Shape = field(default_factory=Shape)
    vocabulary_size: int = 4096
    chunk: int = 32
    sample_tokens: int = 160
    golden_tokens: int = 64
    toy: bool = False

    def quick(self) -> "TransformerRecipe":
        config = replace(self.config, steps=20, batch_size=4, warmup_steps=5, checkpoint_every=10, log_every=10)
        shape = Shape(capacity=64, width=32, layers=2, heads=4, kv_heads=2, head_size=16, hidden=48)
        return replace(
            self, config=config, shape=shape, vocabulary_size=320, chunk=8, sample_tokens=20, golden_tokens=20, toy=True
        )

    def load(self, folder: Path) -> Corpus:
        return corpus(toy_prose() if self.toy else english(folder), self.vocabulary_size, self.shape.capacity + 1)

    def network(self, data: Data) -> nn.Module:
        return Transformer(self.vocabulary_size, self.shape)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        return next_token_nats(cast(Transformer, network), batch[0]).mean()

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        model, text = cast(Transformer, network), cast(Corpus, data)
        params, tokenizer = self.params(), Tokenizer(text.tokenizer)
        graphs = export(model, params)
        nats = nats_by_token(model, text.test[0])
        return Artefacts(
            graphs=graphs,
            params=params,
            metrics=self._metrics(model, graphs, text, nats),
            goldens={
                **{name: record(graph, self._example(name, GOLDEN_ROWS[name])) for name, graph in graphs.items()},
                "generate": self._golden_text(model, graphs, tokenizer),
            },
            calibration={"nats_per_token_held_out": np.sort(nats_by_token(model, text.held_out[0]).mean(1).numpy())},
            samples=picture(nats, self._samples(graphs, tokenizer)),
            files={TOKENIZER: text.tokenizer},
            description=DESCRIPTION,
        )

    def params(self) -> TransformerParams:
        """What the service must know."""
        return TransformerParams(
            vocabulary_size=self.vocabulary_size,
            capacity=self.shape.capacity,
            chunk=self.chunk,
            layers=self.shape.layers,
            heads=self.shape.heads,
            kv_heads=self.shape.kv_heads,
            head_size=self.shape.head_size,
            end_of_text=END_OF_TEXT,
        )

    def _example(self, graph: str, count: int) -> dict[str, Tensor]:
        return Examples(self.params(), self.chunk if graph == "prefill" else 1)(count)

    def _metrics(self, model: Transformer, graphs: dict[str, Exported], text: Corpus, nats: Tensor) -> dict[str, float]:
        data = text_bytes(text.test[0], Tokenizer(text.tokenizer))
        seen = text.train[0][:: len(text.train[0]) // len(text.held_out[0])]
        return {
            **likelihood_metrics(nats, data),
            "loss_train_nats": float(nats_by_token(model, seen).mean()),
            "loss_held_out_nats": float(nats_by_token(model, text.held_out[0]).mean()),
            **compressor_metrics(data, "".join(text.documents.train).encode()),
            **speed_metrics(graphs, self._example),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }

    def _golden_text(self, model: Transformer, graphs: dict[str, Exported], tokenizer: Tokenizer) -> Golden:
        """The likeliest text of torch without a cache. Raises ExportRefused where the graphs write another one."""
        prompt = tokenizer.encode(PROMPTS[0])
        wanted = greedy(model, prompt, self.golden_tokens)
        writer = CachedTransformer(graphs, self.params())
        found = list(islice(writer.generate(prompt, 0.0, np.random.default_rng(0)), self.golden_tokens))
        if found != wanted:
            raise ExportRefused(f"{self.name}: the graphs write {found}, torch writes {wanted}")
        return Golden({"prompt_ids": np.array(prompt)}, {"greedy_ids": np.array(wanted)})

    def _samples(self, graphs: dict[str, Exported], tokenizer: Tokenizer) -> list[str]:
        writer, random = CachedTransformer(graphs, self.params()), np.random.default_rng(0)
        texts = []
        for prompt in PROMPTS:
            ids = tokenizer.encode(prompt)
            texts.append(tokenizer.decode([*ids, *islice(writer.generate(ids, 0.8, random), self.sample_tokens)]))
        return texts


DESCRIPTION = Description(
    summary="A small GPT of English prose: a decoder-only transformer with rotary positions, grouped-query attention, "
    "query and key norms, SwiGLU, and a byte-level BPE vocabulary of 4,096 tokens in which any text can be written. "
    "`prefill` reads a prompt in chunks of 32 tokens, `decode` writes token by token, both after a key-value cache of "
    "fixed capacity. The picture shows what context is worth on test text, and three samples at temperature 0.8.",
    data="233 State of the Union addresses (1790 to 2022) and Jane Austen's six novels, split by document: 12 "
    "addresses are held out, 11 others and Northanger Abbey are for testing. The tokenizer is trained on the training "
    "documents alone.",
    intended_use="Completing and scoring prose in the manner of its sources; an example of a text model that a CPU "
    "trains in half an hour. Bits per byte are over windows of 257 tokens of the test text that share one token: each "
    "token has 128 tokens of context on average. The compressors pack the same bytes in one piece; "
    "lzma_after_training_text is what the test text adds to the packed training text. Tokens per second are of the "
    "bare graphs on one thread of the training machine.",
    limits="It knows the grammar of presidents and of the Regency, and no facts: what it writes is fluent at best and "
    "never to be relied on. It repeats the opinions and prejudices of its sources. 256 tokens of context.",
)
