"""What the transformer minimises: the cross-entropy of the next token."""

from torch import Tensor
from torch.nn import functional

from training.transformer.model import Transformer


def next_token_nats(model: Transformer, windows: Tensor) -> Tensor:
    """-log p(token | tokens before it in its window), in nats: [B, S] for windows int64 [B, S + 1].

    The mean is the loss (Radford et al. 2018, "Improving language understanding by generative pre-training", eq. 1);
    its exponential is the perplexity.
    """
    wanted, logits = windows[:, 1:], model.read(windows[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
