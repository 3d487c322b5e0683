"""The min-norm point and the balanced backward pass."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchjd.aggregation import MGDAWeighting

from voxangle.objectives import backward_balanced, fixed, mgda, min_norm_weight

finite = st.floats(-10, 10, allow_nan=False)
gradients = st.tuples(st.lists(finite, min_size=3, max_size=3), st.lists(finite, min_size=3, max_size=3)).map(
    lambda pair: tuple(torch.tensor(g, dtype=torch.float64) for g in pair)
)


@settings(max_examples=200, deadline=None)
@given(gradients)
def test_no_other_weight_gives_a_shorter_combination(pair: tuple[Tensor, Tensor]) -> None:
    g1, g2 = pair
    alpha = min_norm_weight(g1, g2)
    shortest = (alpha * g1 + (1 - alpha) * g2).norm()
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    assert 0 <= alpha <= 1
    assert shortest <= (grid * g1 + (1 - grid) * g2).norm(dim=1).min() + 1e-9


@settings(max_examples=200, deadline=None)
@given(gradients)
def test_the_min_norm_point_lowers_both_losses(pair: tuple[Tensor, Tensor]) -> None:
    g1, g2 = pair
    alpha = min_norm_weight(g1, g2)
    d = alpha * g1 + (1 - alpha) * g2
    assert d @ g1 >= d @ d - 1e-8
    assert d @ g2 >= d @ d - 1e-8


@settings(max_examples=100, deadline=None)
@given(gradients)
def test_swapping_the_gradients_swaps_the_weights(pair: tuple[Tensor, Tensor]) -> None:
    g1, g2 = pair
    torch.testing.assert_close(min_norm_weight(g1, g2), 1 - min_norm_weight(g2, g1))


def test_it_agrees_with_torchjd() -> None:
    generator = torch.Generator().manual_seed(0)
    for scale in (0.1, 1.0, 10.0):
        g1 = scale * torch.randn(6, generator=generator, dtype=torch.float64)
        g2 = torch.randn(6, generator=generator, dtype=torch.float64)
        matrix = torch.stack([g1, g2])
        theirs = MGDAWeighting(epsilon=1e-9, max_iters=10_000)(matrix @ matrix.T)[0]
        torch.testing.assert_close(min_norm_weight(g1, g2), theirs, rtol=1e-3, atol=1e-3)


def test_the_formula_without_its_square_is_not_it() -> None:
    g1, g2 = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0])
    defective = ((g2 - g1) @ g2 / (g1 - g2).norm()).clamp(0, 1)
    assert float(min_norm_weight(g1, g2)) == pytest.approx(0.1)
    assert float(defective) != pytest.approx(0.1, abs=0.1)


def test_special_points() -> None:
    g = torch.tensor([1.0, 2.0])
    assert float(min_norm_weight(g, g)) == 0.5
    assert float(min_norm_weight(torch.zeros(2), torch.zeros(2))) == 0.5
    assert float(min_norm_weight(g, 3 * g)) == 1  # same direction: the shorter one alone
    assert float(min_norm_weight(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0]))) < 0.5
    assert float(min_norm_weight(1e-6 * g, 1e-6 * g.flip(0))) == pytest.approx(0.5)


class Heads(nn.Module):
    """An encoder with batch norm under two heads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        self.first, self.second = nn.Linear(3, 1), nn.Linear(3, 1)
        self.x = torch.randn(7, 5)

    def losses(self) -> tuple[Tensor, list[Tensor]]:
        z = self.encoder(self.x)
        return z, [self.first(z).square().mean(), 10 * (self.second(z) - 1).square().mean()]


@pytest.mark.parametrize("normaliser", ["none", "l2", "loss", "loss+"])
def test_one_backward_gives_the_weighted_gradient_everywhere(normaliser: str) -> None:
    model = Heads()
    z, losses = model.losses()
    balance = backward_balanced(losses, z, mgda(normaliser))
    got = [p.grad.clone() for p in model.parameters()]
    assert sum(balance.weights) == pytest.approx(1)
    assert int(model.encoder[1].num_batches_tracked) == 1

    model.zero_grad()
    _, losses = model.losses()
    (balance.weights[0] * losses[0] + balance.weights[1] * losses[1]).backward()
    for ours, parameter in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)


def test_mgda_takes_the_min_norm_point_of_the_gradients_at_the_embeddings() -> None:
    z, losses = Heads().losses()
    g1, g2 = (torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in losses)
    balance = backward_balanced(losses, z, mgda())
    assert balance.weights[0] == pytest.approx(float(min_norm_weight(g1, g2)), abs=1e-6)
    assert balance.gradient_norms == pytest.approx((float(g1.norm()), float(g2.norm())))
    cosine = float((g1 * g2).sum() / g1.norm() / g2.norm())
    assert balance.gradient_cosine == pytest.approx(cosine, abs=1e-6)


def test_l2_lets_both_gradients_be_heard_equally_loud() -> None:
    z, losses = Heads().losses()
    balance = backward_balanced(losses, z, mgda("l2"))
    loudness = [w * n for w, n in zip(balance.weights, balance.gradient_norms, strict=True)]
    assert loudness[0] == pytest.approx(loudness[1])


def test_the_floor_keeps_the_larger_gradient_alive() -> None:
    g1, g2 = torch.tensor([100.0, 0.0]), torch.tensor([0.0, 1.0])
    losses = [torch.tensor(1.0), torch.tensor(1.0)]
    assert mgda()(losses, [g1, g2])[0] < 0.001
    assert mgda(floor=0.3)(losses, [g1, g2])[0] == pytest.approx(0.3)


@pytest.mark.parametrize("normaliser", ["none", "l2", "loss", "loss+"])
def test_a_loss_without_a_gradient_has_no_say(normaliser: str) -> None:
    losses = [torch.tensor(3.0), torch.tensor(0.0)]
    gradients = [torch.ones(2, 2), torch.zeros(2, 2)]
    assert mgda(normaliser)(losses, gradients) == (1.0, 0.0)
    assert mgda(normaliser)(losses[::-1], gradients[::-1]) == (0.0, 1.0)


def test_fixed_weights_are_scaled_to_one() -> None:
    z, losses = Heads().losses()
    assert backward_balanced(losses, z, fixed((3, 1))).weights == (0.75, 0.25)


def test_a_single_loss_is_a_plain_backward() -> None:
    model = Heads()
    z, losses = model.losses()
    assert backward_balanced(losses[:1], z, mgda()).weights == (1.0,)
    got = [p.grad.clone() for p in model.encoder.parameters()]
    model.zero_grad()
    model.losses()[1][0].backward()
    for ours, parameter in zip(got, model.encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)
