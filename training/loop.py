"""The one training loop: optimiser, EMA, warm-up and decay, checkpoints, and resume with the same bits."""

import copy
import math
import time
from dataclasses import Field, asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from training.data import Data
from training.optimizer import Optimizer, OptimizerName, optimizer
from training.progress import progress
from training.publish import Artefacts

CHECKPOINT = "checkpoint.pt"


class OtherRun(Exception):
    """The run's folder holds a checkpoint of another configuration."""


@dataclass(frozen=True)
class LoopConfig:
    """The budget and the optimiser. Everything is counted in steps, nothing in wall time."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 100
    decay: Literal["cosine", "linear"] = "cosine"
    ema_decay: float = 0.999
    gradient_clip: float = 1.0
    optimizer: OptimizerName = "adam"
    seed: int = 0
    checkpoint_every: int = 200
    log_every: int = 50


class Recipe(Protocol):
    """What `training/<family>/recipe.py` provides, as a frozen dataclass with the fields `name` and `config`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """The model's name in the store, such as "diffusion-fashion"."""

    @property
    def config(self) -> LoopConfig: ...

    def quick(self) -> Self:
        """The same recipe as a toy that ends well within a minute and fetches nothing."""

    def load(self, folder: Path) -> Data:
        """The data; `folder` keeps what is downloaded."""

    def network(self, data: Data) -> nn.Module:
        """The untrained network. It draws from torch's global generator, which the loop has seeded."""

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        """The scalar loss of a batch (rows of `data.train`). All randomness comes from `generator`."""

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        """Measure and export the trained network: everything that is published."""


@dataclass(frozen=True)
class Trained:
    """A network with its EMA weights, in evaluation mode, and the seconds of training over all runs."""

    network: nn.Module
    seconds: float


def train(recipe: Recipe, data: Data, run_folder: Path) -> Trained:
    """Train for `recipe.config.steps`, resuming from the checkpoint in `run_folder` where there is one.

    Batch and noise of a step are functions of (seed, step) alone, so a run that was killed anywhere ends with the
    bits of one that was not.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    run_folder.mkdir(parents=True, exist_ok=True)
    config, state = recipe.config, _State.start(recipe, data)
    state.resume(run_folder / CHECKPOINT)
    with progress(recipe.name, config.steps, config.log_every, run_folder, state.step) as report:
        while state.step < config.steps:
            began = time.perf_counter()
            loss = state.advance(recipe, data.train)
            state.seconds += time.perf_counter() - began
            report(state.step, loss, learning_rate(config, state.step))
            if state.step % config.checkpoint_every == 0 or state.step == config.steps:
                state.save(run_folder / CHECKPOINT)
    return Trained(state.ema.eval(), state.seconds)


def learning_rate(config: LoopConfig, step: int) -> float:
    """The learning rate of a step: linear warm-up, then cosine or linear decay to 0."""
    done = step / config.steps
    decay = 0.5 * (1 + math.cos(math.pi * done)) if config.decay == "cosine" else 1 - done
    return config.learning_rate * decay * min(1.0, (step + 1) / max(1, config.warmup_steps))


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of one step, independent of all others."""
    mixed = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed))


@dataclass
class _State:
    """All that a run carries from step to step, and thus all that a checkpoint holds."""

    config: LoopConfig
    network: nn.Module
    ema: nn.Module
    optimizer: Optimizer
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def start(cls, recipe: Recipe, data: Data) -> "_State":
        torch.manual_seed(recipe.config.seed)
        network = recipe.network(data).train()
        ema = copy.deepcopy(network).requires_grad_(False)
        return cls(recipe.config, network, ema, optimizer(recipe.config.optimizer, network))

    def advance(self, recipe: Recipe, train: tuple[Tensor, ...]) -> float:
        generator = step_generator(self.config.seed, self.step)
        index = torch.randint(len(train[0]), (self.config.batch_size,), generator=generator)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self.optimizer.zero_grad()
        loss = recipe.loss(self.network, tuple(tensor[index] for tensor in train), generator)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip, error_if_nonfinite=True)
        self.optimizer.step()
        self._average()
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def _average(self) -> None:
        # The young average forgets faster, or the initial weights would linger in it.
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for averaged, parameter in zip(self.ema.parameters(), self.network.parameters(), strict=True):
            averaged.lerp_(parameter, 1 - decay)
        for kept, buffer in zip(self.ema.buffers(), self.network.buffers(), strict=True):
            kept.copy_(buffer)

    def save(self, path: Path) -> None:
        draft = path.with_suffix(".draft")
        modules = {name: getattr(self, name).state_dict() for name in ("network", "ema", "optimizer")}
        torch.save({**modules, "config": asdict(self.config), "step": self.step, "seconds": self.seconds}, draft)
        draft.replace(path)

    def resume(self, path: Path) -> None:
        if path.exists():
            saved = torch.load(path, weights_only=True)
            if LoopConfig(**saved["config"]) != self.config:
                raise OtherRun(
                    f"{path} is of {saved['config']}, not of {asdict(self.config)}: delete it or give --runs"
                )
            for name in ("network", "ema", "optimizer"):
                getattr(self, name).load_state_dict(saved[name])
            self.step, self.seconds = saved["step"], saved["seconds"]
