"""Laws of the games: the optimal critic and its equilibrium, what relativity ignores, and the penalties."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional

from training.gan.graphs import Map, mean_styles
from training.gan.model import Gan
from training.gan.objective import Game, Rules, critic_loss, generator_loss, gradient_penalty, turn_loss

GAMES: tuple[Game, ...] = ("relativistic", "minimax")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def gan() -> Gan:
    return Gan(classes=3, latent_size=4, style_size=16, channels=(8, 8))


def batch(size: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    return torch.rand(size, 1, 28, 28) * 2 - 1, torch.arange(size) % 3, torch.randn(size, 4)


def trained_critic(p: Normal, q: Normal) -> nn.Module:
    """A critic of numbers, trained in the minimax game between data from p and a generator that stays at q."""
    critic = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)
    for _ in range(800):
        optimizer.zero_grad()
        critic_loss("minimax", critic(p.sample((512, 1))), critic(q.sample((512, 1)))).backward()
        optimizer.step()
    return critic


@torch.no_grad()
def test_the_trained_critic_of_the_minimax_game_is_p_over_p_plus_q() -> None:
    p, q, x = Normal(0.0, 1.0), Normal(1.5, 1.0), torch.linspace(-1.5, 3, 50)[:, None]
    with torch.enable_grad():
        critic = trained_critic(p, q)
    density_p, density_q = p.log_prob(x).exp(), q.log_prob(x).exp()
    assert (torch.sigmoid(critic(x)) - density_p / (density_p + density_q)).abs().max() < 0.05


@torch.no_grad()
def test_the_critic_becomes_undecided_as_the_generator_becomes_the_data() -> None:
    p, x = Normal(0.0, 1.0), torch.linspace(-2, 2, 50)[:, None]
    decided = []
    for shift in (2.0, 1.0, 0.0):
        with torch.enable_grad():
            critic = trained_critic(p, Normal(shift, 1.0))
        decided.append((torch.sigmoid(critic(x)) - 0.5).abs().mean().item())
    assert decided[0] > decided[1] > decided[2]
    assert decided[2] < 0.04


def test_the_value_of_the_minimax_game_with_an_undecided_critic_is_minus_log_four() -> None:
    assert critic_loss("minimax", torch.zeros(5), torch.zeros(5)).item() == pytest.approx(math.log(4))


def test_the_relativistic_game_knows_differences_of_logits_only() -> None:
    real, fake = torch.randn(9), torch.randn(9)
    for loss in (critic_loss, generator_loss):
        moved = loss("relativistic", real + 7, fake + 7)
        torch.testing.assert_close(moved, loss("relativistic", real, fake))
        assert not torch.allclose(loss("minimax", real + 7, fake + 7), loss("minimax", real, fake))


def test_the_relativistic_players_want_opposite_things() -> None:
    real, fake = torch.randn(9), torch.randn(9)
    swapped = critic_loss("relativistic", fake, real)
    torch.testing.assert_close(generator_loss("relativistic", real, fake), swapped)


@pytest.mark.parametrize("game", GAMES)
def test_a_better_critic_has_a_lower_loss_and_its_generator_a_higher_one(game: Game) -> None:
    gaps = [torch.full((4,), gap) for gap in (-2.0, 0.0, 2.0)]
    critics = [critic_loss(game, gap, -gap).item() for gap in gaps]
    generators = [generator_loss(game, gap, -gap).item() for gap in gaps]
    assert critics[0] > critics[1] > critics[2]
    assert generators[0] < generators[1] < generators[2]


def test_the_gradient_penalty_of_a_linear_critic_is_half_the_square_of_its_slope() -> None:
    slope = torch.randn(1, 5, 5)
    images = torch.randn(7, 1, 5, 5, requires_grad=True)
    penalty = gradient_penalty((images * slope).sum((1, 2, 3)), images)
    assert penalty.item() == pytest.approx(slope.square().sum().item() / 2, rel=1e-5)


def test_the_gradient_penalty_of_a_quadratic_critic_is_that_of_its_closed_form_and_so_is_its_derivative() -> None:
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    images = torch.randn(11, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    # C(x) = a |x|^2: the gradient is 2 a x, the penalty 2 a^2 E|x|^2, its derivative by a 4 a E|x|^2.
    penalty = gradient_penalty(a * images.square().sum((1, 2, 3)), images)
    square = images.detach().square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(penalty, 2 * a.detach() ** 2 * square)
    (derivative,) = torch.autograd.grad(penalty, a)
    torch.testing.assert_close(derivative, 4 * a.detach() * square)


def test_the_players_take_turns_and_only_one_learns_in_each(gan: Gan) -> None:
    learners = []
    for _ in range(4):
        gan.zero_grad()
        turn_loss(gan, Rules("relativistic", 0.5), *batch()).backward()
        learners.append({name.split(".")[0] for name, weight in gan.named_parameters() if weight.grad is not None})
    assert learners == [{"critic"}, {"generator"}, {"critic"}, {"generator"}]


def test_the_critics_turn_weighs_both_penalties_by_gamma(gan: Gan) -> None:
    images, labels, z = batch()
    gan.eval()
    without, with_ = (turn_loss(gan, Rules("relativistic", gamma), images, labels, z) for gamma in (0.0, 0.8))
    shown = [images.requires_grad_(), gan.generator(z, labels).detach().requires_grad_()]
    penalties = [gradient_penalty(gan.critic(image, labels), image) for image in shown]
    torch.testing.assert_close(with_ - without, 0.8 * sum(penalties), rtol=1e-4, atol=1e-5)


def test_a_row_does_not_feel_its_neighbours(gan: Gan) -> None:
    images, labels, z = batch()
    gan.double()
    for player, rows in ((gan.generator, z.double()), (gan.critic, images.double())):
        alone = torch.cat([player(row[None], label[None]) for row, label in zip(rows, labels, strict=True)])
        torch.testing.assert_close(player(rows, labels), alone)


@torch.no_grad()
def test_truncation_zero_is_the_mean_style_and_one_the_style_itself(gan: Gan) -> None:
    _, labels, z = batch()
    mapping = Map(gan.generator)
    means = mean_styles(gan.generator)
    torch.testing.assert_close(mapping(z, labels, torch.zeros(6)), means[labels])
    torch.testing.assert_close(mapping(z, labels, torch.ones(6)), gan.generator.map(z, labels))


@torch.no_grad()
def test_the_distance_to_the_mean_style_is_proportional_to_the_truncation(gan: Gan) -> None:
    _, labels, z = batch()
    mapping, amounts = Map(gan.generator), (0.25, 0.5, 1.0)
    mean = mapping.style_mean[labels]
    distances = [(mapping(z, labels, torch.full((6,), amount)) - mean).norm(dim=1) for amount in amounts]
    for amount, distance in zip(amounts, distances, strict=True):
        torch.testing.assert_close(distance, amount * distances[-1], rtol=1e-4, atol=1e-5)


def test_the_softplus_of_the_game_is_the_logarithm_of_one_minus_d() -> None:
    logits = torch.randn(20, dtype=torch.float64)
    value = -(functional.logsigmoid(logits).mean() + torch.log(1 - torch.sigmoid(-logits)).mean())
    torch.testing.assert_close(critic_loss("minimax", logits, -logits), value)
