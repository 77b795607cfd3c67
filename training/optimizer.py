"""The optimisers of the one loop: Adam, Adam without momentum for games, or Muon for linear layers with AdamW."""

from typing import Any, Literal, Protocol

import torch
from torch import nn

OptimizerName = Literal["adam", "adam_game", "muon"]
GAME_BETAS = (0.0, 0.99)  # where two players push each other, momentum makes them circle


class Optimizer(Protocol):
    """What the loop needs; it sets "lr" in every group before each step."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...
    def zero_grad(self) -> None: ...
    def step(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Muon:
    """Muon for the weights of linear layers (momentum, orthogonalised: Liu et al. 2025, arXiv:2502.16982, eq. 4).

    Embeddings, gains and biases have AdamW. Muon's updates are scaled to the size of AdamW's, so that both share one
    learning rate.
    """

    def __init__(self, network: nn.Module) -> None:
        matrices = [layer.weight for layer in network.modules() if isinstance(layer, nn.Linear)]
        known = set(map(id, matrices))
        others = [parameter for parameter in network.parameters() if id(parameter) not in known]
        self.parts = {
            "muon": torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw"),
            "adamw": torch.optim.AdamW(others, betas=(0.9, 0.95)),
        }

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts.values() for group in part.param_groups]

    def zero_grad(self) -> None:
        for part in self.parts.values():
            part.zero_grad()

    def step(self) -> None:
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])


def optimizer(name: OptimizerName, network: nn.Module) -> Optimizer:
    """A new optimiser of the network's parameters."""
    if name == "muon":
        return Muon(network)
    return torch.optim.Adam(network.parameters(), betas=GAME_BETAS if name == "adam_game" else (0.9, 0.999))
