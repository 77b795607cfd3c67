"""The training loop: the same seed gives the same bits, killed or not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest
import torch
from torch import Tensor, nn

from training.data import Data
from training.loop import LoopConfig, OtherRun, learning_rate, step_generator, train
from training.optimizer import OptimizerName
from training.publish import Artefacts

CONFIG = LoopConfig(steps=12, batch_size=4, learning_rate=1e-2, warmup_steps=3, checkpoint_every=3, log_every=5)


class Killed(Exception):
    """Stands for a kill: nothing in the loop may catch it."""


@dataclass(frozen=True)
class Toy:
    """A linear regression with noise from the generator; `killed_at` is the call of the loss that does not return."""

    name: str = "toy"
    config: LoopConfig = CONFIG
    killed_at: Iterator[bool] | None = None

    def quick(self) -> Self:
        return self

    def load(self, folder: Path) -> Data:
        random = torch.Generator().manual_seed(1)
        rows = torch.randn(50, 3, generator=random)
        part = (rows, rows.sum(dim=1, keepdim=True))
        return Data(part, part, part, {}, "CC0")

    def network(self, data: Data) -> nn.Module:
        return nn.Linear(3, 1)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        if self.killed_at is not None and next(self.killed_at):
            raise Killed
        rows, wanted = batch
        noise = torch.randn(rows.shape, generator=generator)
        return nn.functional.mse_loss(network(rows + 0.1 * noise), wanted)

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        raise AssertionError("the loop trains, it does not publish")


def weights(recipe: Toy, folder: Path) -> list[Tensor]:
    return list(train(recipe, recipe.load(folder), folder).network.parameters())


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("step", range(12))
def test_a_run_killed_at_any_step_and_resumed_ends_with_the_bits_of_an_uninterrupted_one(
    step: int, optimizer: OptimizerName, tmp_path: Path
) -> None:
    config = replace(CONFIG, optimizer=optimizer)
    killed = Toy(config=config, killed_at=(call == step for call in range(12)))
    with pytest.raises(Killed):
        weights(killed, tmp_path / "killed")
    whole = Toy(config=config)
    assert equal(weights(whole, tmp_path / "killed"), weights(whole, tmp_path / "whole"))


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    assert equal(weights(Toy(), tmp_path / "first"), weights(Toy(), tmp_path / "second"))


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    other = Toy(config=replace(CONFIG, seed=1))
    assert not equal(weights(Toy(), tmp_path / "first"), weights(other, tmp_path / "second"))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = weights(Toy(), tmp_path)
    again = Toy(killed_at=iter([True]))
    assert equal(first, weights(again, tmp_path))


def test_the_returned_network_holds_the_average_of_the_weights_and_not_the_last(tmp_path: Path) -> None:
    averaged = weights(Toy(), tmp_path)
    last = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["network"]
    assert not torch.equal(averaged[0], last["weight"])


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    recipe = Toy(config=replace(CONFIG, steps=300, learning_rate=0.1, ema_decay=0.9))
    data = recipe.load(tmp_path)
    network = train(recipe, data, tmp_path).network
    rows, wanted = data.train
    assert nn.functional.mse_loss(network(rows), wanted) < 0.05


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    weights(Toy(), tmp_path)
    with pytest.raises(OtherRun, match=r"'steps': 12.*'steps': 13.*delete it or give --runs"):
        weights(Toy(config=replace(CONFIG, steps=13)), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_training_before_the_weights_are_touched(tmp_path: Path) -> None:
    class Broken(Toy):
        def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
            return super().loss(network, batch, generator) * float("nan")

    with pytest.raises(RuntimeError, match="non-finite"):
        weights(Broken(), tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_the_learning_rate_warms_up_and_decays_to_zero(decay: str) -> None:
    config = replace(CONFIG, steps=100, warmup_steps=10, decay=decay)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[0] < rates[5] < rates[9] <= config.learning_rate
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_steps_draw_independently_of_each_other() -> None:
    draws = {
        tuple(torch.randint(1000, (8,), generator=step_generator(seed, step)).tolist())
        for seed in range(5)
        for step in range(5)
    }
    assert len(draws) == 25
