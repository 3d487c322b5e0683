"""Weights from the losses' values and the inner products of their gradients."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import (
    CAGradWeighting,
    IMTLGWeighting,
    MGDAWeighting,
    PCGradWeighting,
    UPGradWeighting,
)

from voxangle.errors import MissingExtraError
from voxangle.objectives.balancers import (
    Balancer,
    Uncertainty,
    equal,
    fixed,
    gramian,
    mgda,
    min_norm_weight,
)
from voxangle.objectives.jacobian_descent import cagrad, imtl_g, pcgrad, upgrad

NORMALISERS = ["none", "l2", "loss", "loss+"]

finite = st.floats(-10, 10).map(lambda x: round(x, 6))
vectors = st.lists(finite, min_size=3, max_size=3).map(lambda v: torch.tensor(v, dtype=torch.float64))
# One gradient may be far longer than the other, and both far from 1.
gradients = st.tuples(vectors, vectors, st.integers(-4, 4), st.integers(-100, 100)).map(
    lambda drawn: (drawn[0] * 10.0 ** drawn[3], drawn[1] * 10.0 ** (drawn[2] + drawn[3]))
)
examples = settings(max_examples=100, derandomize=True)


def combine(alpha: Tensor, g1: Tensor, g2: Tensor) -> Tensor:
    return alpha * g1 + (1 - alpha) * g2


def double(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def defective_without_the_square(g1: Tensor, g2: Tensor) -> Tensor:
    return ((g2 - g1) @ g2 / (g1 - g2).norm()).clamp(0, 1)


def shortest_on_a_grid(g1: Tensor, g2: Tensor) -> Tensor:
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    return combine(grid, g1, g2).norm(dim=1).min()


def descends_both(d: Tensor, g1: Tensor, g2: Tensor) -> bool:
    rounding = 1e-6 * torch.maximum(g1.norm(), g2.norm()) ** 2
    return bool(d @ g1 >= d @ d - rounding) and bool(d @ g2 >= d @ d - rounding)


@examples
@given(gradients)
def test_no_other_weight_gives_a_shorter_combination(pair: tuple[Tensor, Tensor]) -> None:
    alpha = min_norm_weight(*pair)
    assert 0 <= alpha <= 1
    rounding = 1e-6 * max(g.norm() for g in pair)
    assert combine(alpha, *pair).norm() <= shortest_on_a_grid(*pair) + rounding


@examples
@given(gradients)
def test_the_min_norm_point_lowers_both_losses(pair: tuple[Tensor, Tensor]) -> None:
    assert descends_both(combine(min_norm_weight(*pair), *pair), *pair)


@examples
@given(gradients)
def test_swapping_the_gradients_swaps_the_weights(pair: tuple[Tensor, Tensor]) -> None:
    g1, g2 = pair
    torch.testing.assert_close(min_norm_weight(g1, g2), 1 - min_norm_weight(g2, g1), rtol=0, atol=1e-4)


@examples
@given(gradients)
def test_the_larger_gradient_gets_the_smaller_weight(pair: tuple[Tensor, Tensor]) -> None:
    g1, g2 = sorted(pair, key=lambda g: float(g.norm()))
    assert min_norm_weight(g1, g2) >= 0.5


@examples
@given(gradients, st.integers(-150, 150))
def test_the_common_scale_does_not_matter(pair: tuple[Tensor, Tensor], power: int) -> None:
    g1, g2 = (g / max(*(float(x.abs().max()) for x in pair), 1e-300) for g in pair)
    alpha = min_norm_weight(g1, g2)
    torch.testing.assert_close(
        min_norm_weight(g1 * 2.0**power, g2 * 2.0**power), alpha, rtol=0, atol=1e-6
    )  # fmt: skip


@examples
@given(vectors)
def test_equal_gradients_share_equally(g: Tensor) -> None:
    assert min_norm_weight(g, g) == 0.5
    assert min_norm_weight(g, g * (1 + 1e-15)) == 0.5
    assert min_norm_weight(g.float(), g.float()) == 0.5


def test_many_equal_elements_share_equally() -> None:
    g = torch.randn(300, 193, generator=torch.Generator().manual_seed(0))
    assert min_norm_weight(g, g.clone()) == 0.5


def test_the_ends_are_reached() -> None:
    g = torch.tensor([1.0, 2.0])
    assert min_norm_weight(g, 3 * g) == 1  # the same direction: the shorter one alone
    assert min_norm_weight(3 * g, g) == 0
    assert min_norm_weight(torch.zeros(2), g) == 1
    assert min_norm_weight(torch.zeros(2), torch.zeros(2)) == 0.5
    assert min_norm_weight(g, -g) == 0.5
    assert float(min_norm_weight(g, -3 * g)) == pytest.approx(0.75)


def test_the_formula_without_its_square_is_not_the_shortest_and_descends_not_both() -> None:
    """Trap 5 of public code."""
    g1, g2 = torch.tensor([3.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
    ours, theirs = (combine(f(g1, g2), g1, g2) for f in (min_norm_weight, defective_without_the_square))
    assert float(min_norm_weight(g1, g2)) == pytest.approx(0.1)
    assert ours.norm() <= shortest_on_a_grid(g1, g2) + 1e-9
    assert theirs.norm() > shortest_on_a_grid(g1, g2) + 0.01
    assert descends_both(ours, g1, g2)
    assert not descends_both(theirs, g1, g2)


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e25])
def test_squares_that_float32_cannot_hold_are_held(scale: float) -> None:
    g1, g2 = scale * torch.tensor([3.0, 0.0]), scale * torch.tensor([0.0, 1.0])
    assert float(min_norm_weight(g1, g2)) == pytest.approx(0.1, rel=1e-4)
    defective = ((g2 - g1) @ g2 / (g1 - g2).square().sum()).clamp(0, 1)
    assert not defective.isfinite()


@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_squares_that_float64_cannot_hold_are_not_taken(scale: float) -> None:
    g1, g2 = scale * double([3.0, 0.0])[0], scale * double([0.0, 1.0])[0]
    assert float(min_norm_weight(g1, g2)) == pytest.approx(0.1)


def test_nearly_equal_float32_gradients_are_told_apart() -> None:
    """The sum of squares minus twice the product cancels in float32."""
    generator = torch.Generator().manual_seed(0)
    common, apart = torch.randn(2, 1000, generator=generator)
    apart -= (apart @ common) / (common @ common) * common
    g1, g2 = common + 1e-4 * apart, common - 5e-5 * apart
    a, b = g1.double(), g2.double()
    exact = float(((b - a) @ b / (b - a).square().sum()).clamp(0, 1))
    defective = (g2 @ g2 - g1 @ g2) / (g1 @ g1 + g2 @ g2 - 2 * g1 @ g2)
    assert 0.3 < exact < 0.4
    assert float(min_norm_weight(g1, g2)) == pytest.approx(exact, abs=1e-6)
    assert abs(float(defective.clamp(0, 1)) - exact) > 0.05


def test_alpha_comes_in_the_precision_of_the_objective() -> None:
    g = torch.randn(2, 3, 4)
    for dtype, expected in (
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert min_norm_weight(*g.to(dtype)).dtype == expected


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.ones(2).long(), torch.ones(2), r"first must be floating-point, got torch.int64"),
        (torch.ones(2), torch.ones(2).bool(), r"second must be floating-point, got torch.bool"),
        (torch.ones(2, 3), torch.ones(3, 2), r"same shape.*\(2, 3\) and \(3, 2\)"),
        (torch.ones(0), torch.ones(0), r"an element at least, got \(0,\)"),
    ],
)
def test_it_refuses_what_are_not_two_gradients(first: Tensor, second: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        min_norm_weight(first, second)


def test_the_gramian_is_exact_in_blocks_and_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(7, 11, generator=generator) for _ in range(3)]
    exact = [[float((a.double() * b.double()).sum()) for a in drawn] for b in drawn]
    monkeypatch.setattr("voxangle.objectives.balancers._BLOCK", 10)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            gramian(drawn), torch.tensor(exact, dtype=torch.float64), rtol=1e-12, atol=0
        )


# MGDA


def gramian_of(*rows: list[float]) -> Tensor:
    return gramian([torch.tensor(row, dtype=torch.float64) for row in rows])


def random_gramian(losses: int, seed: int, *, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(losses, 5, generator=generator, dtype=torch.float64)
    jacobian[0] *= scale
    return jacobian @ jacobian.T


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("seed", range(5))
def test_mgda_agrees_with_torchjd(scale: float, seed: int) -> None:
    products = random_gramian(2, seed, scale=scale)
    theirs = MGDAWeighting(epsilon=1e-12, max_iters=10_000)(products)
    torch.testing.assert_close(mgda()(torch.ones(2).double(), products), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("seed", range(5))
def test_normalisers_follow_their_definition(normaliser: str, seed: int) -> None:
    """arXiv 1810.04650's code, but that the weights are those of the normalised losses."""
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(2, 6, generator=generator, dtype=torch.float64) * double([5.0], [0.3])
    losses = double([2.0, 0.4])[0]
    n = {
        "none": [1.0, 1.0],
        "l2": [float(x.norm()) for x in g],
        "loss": losses.tolist(),
        "loss+": [float(value * x.norm()) for value, x in zip(losses, g, strict=True)],
    }[normaliser]
    alpha = float(min_norm_weight(g[0] / n[0], g[1] / n[1]))
    share = alpha / n[0], (1 - alpha) / n[1]
    weights = mgda(normaliser)(losses, g @ g.T)
    assert weights.tolist() == pytest.approx([share[0] / sum(share), share[1] / sum(share)])
    assert descends_both(weights @ g * sum(share), g[0] / n[0], g[1] / n[1])


def test_min_norm_weights_of_normalised_gradients_on_losses_as_they_are_need_not_descend() -> None:
    g = double([10.0, 0.0], [-1.0, 0.1])
    alpha = min_norm_weight(g[0] / g[0].norm(), g[1] / g[1].norm())
    published = combine(alpha, g[0], g[1])
    ours = mgda("l2")(torch.ones(2).double(), g @ g.T) @ g
    assert published @ g[1] < 0
    assert ours @ g[0] > 0
    assert ours @ g[1] > 0


@pytest.mark.parametrize("seed", range(5))
def test_l2_hears_both_gradients_equally_loud(seed: int) -> None:
    products = random_gramian(2, seed, scale=20)
    loudness = mgda("l2")(torch.ones(2).double(), products) * products.diagonal().sqrt()
    torch.testing.assert_close(loudness[0], loudness[1])


def test_the_floor_keeps_the_larger_gradient_alive() -> None:
    products, losses = gramian_of([100.0, 0.0], [0.0, 1.0]), torch.ones(2).double()
    assert mgda()(losses, products)[0] < 0.001
    assert mgda(floor=0.3)(losses, products).tolist() == pytest.approx([0.3, 0.7])
    assert mgda(floor=0.3)(losses, products.flip(0, 1)).tolist() == pytest.approx([0.7, 0.3])
    assert mgda(floor=0.5)(losses, products).tolist() == [0.5, 0.5]
    assert mgda(floor=0.3)(losses, torch.eye(2).double()).tolist() == [0.5, 0.5]


def test_the_floor_holds_for_the_normalised_gradient() -> None:
    products, losses = gramian_of([100.0, 0.0], [0.0, 1.0]), double([2.0, 1.0])[0]
    alpha = 0.4 / 2, 0.6 / 1
    expected = [alpha[0] / sum(alpha), alpha[1] / sum(alpha)]
    assert mgda("loss", floor=0.4)(losses, products).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("floor", [0.0, 0.4])
def test_a_loss_without_a_gradient_has_no_say(normaliser: str, floor: float) -> None:
    losses, products = double([3.0, 0.0])[0], gramian_of([1.0, 1.0], [0.0, 0.0])
    balance = mgda(normaliser, floor=floor)
    assert balance(losses, products).tolist() == [1, 0]
    assert balance(losses.flip(0), products.flip(0, 1)).tolist() == [0, 1]
    assert balance(torch.zeros(2).double(), torch.zeros(2, 2).double()).tolist() == [0.5, 0.5]
    assert min_norm_weight(torch.ones(2), torch.zeros(2)) == 0  # the formula alone would stop training


@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8])
def test_common_scales_do_not_move_mgda(normaliser: str, scale: float) -> None:
    products, losses = random_gramian(2, 0, scale=3), double([2.0, 0.4])[0]
    balance = mgda(normaliser)
    expected = balance(losses, products)
    torch.testing.assert_close(balance(losses * scale, products * scale**2), expected)


def test_nan_is_not_hidden() -> None:
    products = torch.eye(2).double()
    products[0, 0] = torch.nan
    for balance in (mgda(), mgda("l2"), mgda("loss+", floor=0.4), pcgrad(), imtl_g()):
        assert balance(torch.ones(2).double(), products).isnan().all()


# The controls


def test_equal_is_the_mean() -> None:
    assert equal()(torch.ones(4), torch.eye(4)).tolist() == [0.25] * 4


def test_fixed_weights_are_scaled_to_one() -> None:
    assert fixed((3, 1))(torch.ones(2), torch.eye(2)).tolist() == [0.75, 0.25]
    assert fixed((0, 2, 2))(torch.ones(3), torch.eye(3)).tolist() == [0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: fixed(()), r"weights must be finite and >= 0, and not all 0, got \(\)"),
        (lambda: fixed((1, -1)), r"weights must be finite and >= 0"),
        (lambda: fixed((0, 0)), r"not all 0, got \(0, 0\)"),
        (lambda: fixed((1, float("nan"))), r"weights must be finite"),
        (lambda: mgda("l1"), r"normaliser must be one of 'none', 'l2', 'loss', 'loss\+', got 'l1'"),
        (lambda: mgda(floor=0.6), r"floor must lie in \[0, 1/2\], got 0.6"),
        (lambda: mgda(floor=-0.1), r"floor must lie in \[0, 1/2\], got -0.1"),
        (lambda: Uncertainty(0), r"losses must be >= 1, got 0"),
        (lambda: cagrad(-0.5), r"c must be finite and >= 0, got -0.5"),
        (lambda: fixed((1, 1))(torch.ones(3), torch.eye(3)), r"one for each of the 3 losses, got \(1, 1\)"),
        (lambda: mgda()(torch.ones(3), torch.eye(3)), r"mgda weighs two losses, got 3"),
        (lambda: mgda("loss")(torch.tensor([1.0, -2.0]), torch.eye(2)), r"'loss' divides by the losses.*-2"),
        (lambda: Uncertainty(2)(torch.ones(3), torch.eye(3)), r"losses must have shape \(2,\), got \(3,\)"),
    ],
)
def test_bad_settings_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_uncertainty_adds_the_gradient_of_its_objective() -> None:
    balancer = Uncertainty(3).double()
    s = double([0.5, -1.0, 2.0])[0]
    losses = double([4.0, 0.2, 1.0])[0]
    with torch.no_grad():
        balancer.log_variances.copy_(s)
    weights = balancer(losses, torch.eye(3).double())
    torch.testing.assert_close(weights, (-s).exp())
    assert not weights.requires_grad

    def objective(s: Tensor) -> Tensor:
        return ((-s).exp() * losses + s).sum()

    steps = 1e-6 * torch.eye(3).double()
    expected = torch.stack([objective(s + step) - objective(s - step) for step in steps]) / 2e-6
    torch.testing.assert_close(balancer.log_variances.grad, expected, rtol=1e-6, atol=1e-8)
    balancer(losses, torch.eye(3).double())
    torch.testing.assert_close(balancer.log_variances.grad, 2 * expected, rtol=1e-6, atol=1e-8)


def test_uncertainty_settles_where_every_weighted_loss_is_one_and_can_be_resumed() -> None:
    losses = torch.tensor([8.0, 0.1])
    balancer = Uncertainty(2)
    optimizer = torch.optim.SGD(balancer.parameters(), lr=0.2)
    for _ in range(200):
        optimizer.zero_grad()
        balancer(losses, torch.eye(2))
        optimizer.step()
    resumed = Uncertainty(2)
    resumed.load_state_dict(balancer.state_dict())
    torch.testing.assert_close(resumed(losses, torch.eye(2)) * losses, torch.ones(2), rtol=1e-4, atol=0)


# TorchJD's


BY_TORCHJD = {
    "upgrad": (upgrad, UPGradWeighting),
    "cagrad": (cagrad, lambda: CAGradWeighting(c=0.5)),
    "pcgrad": (pcgrad, PCGradWeighting),
    "imtl_g": (imtl_g, IMTLGWeighting),
}


@pytest.mark.parametrize("name", BY_TORCHJD)
@pytest.mark.parametrize("losses", [2, 3])
def test_the_weights_are_torchjds(name: str, losses: int) -> None:
    ours, theirs = (build() for build in BY_TORCHJD[name])
    products = random_gramian(losses, seed=losses)
    torch.manual_seed(0)
    expected = theirs(products)
    torch.manual_seed(0)
    torch.testing.assert_close(ours(torch.ones(losses).double(), products), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", BY_TORCHJD)
@pytest.mark.parametrize("scale", [1e-4, 1e-12, 1e8])
def test_small_gradients_are_balanced_like_large_ones(name: str, scale: float) -> None:
    """A mean loss has small gradients at the embeddings."""
    ours, _ = (build() for build in BY_TORCHJD[name])
    products = gramian_of([1.0, 0.0], [-0.5, 0.5])
    losses = torch.ones(2).double()
    torch.testing.assert_close(
        ours(losses, products * scale**2), ours(losses, products), rtol=1e-5, atol=1e-7
    )


def test_torchjd_alone_takes_small_gradients_for_none() -> None:
    products = 1e-8 * gramian_of([1.0, 0.0], [-0.5, 0.5])
    assert UPGradWeighting()(products).tolist() == [0.5, 0.5]
    assert CAGradWeighting(c=0.5)(products).tolist() == [0, 0]


@pytest.mark.parametrize("ratio", [1.0, 10.0, 1e3])
def test_upgrad_never_conflicts(ratio: float) -> None:
    products = gramian_of([ratio, 0.0], [-0.5, 3**0.5 / 2])
    slopes = products @ upgrad()(torch.ones(2).double(), products)
    assert (slopes >= -1e-6).all()
    assert (slopes > 1e-6).any()
    if ratio == 1e3:
        assert (products @ UPGradWeighting()(products)).min() < -1  # its ridge outweighs the shorter gradient


@pytest.mark.parametrize("name", ["upgrad", "cagrad", "pcgrad", "imtl_g"])
def test_parallel_and_absent_gradients_are_balanced(name: str) -> None:
    balance: Balancer = BY_TORCHJD[name][0]()
    losses = torch.ones(2).double()
    for products in (
        gramian_of([1.0, 2.0], [1.0, 2.0]),
        gramian_of([1.0, 2.0], [0.0, 0.0]),
        gramian_of([0.0, 0.0], [0.0, 0.0]),
    ):
        weights = balance(losses, products)
        assert weights.isfinite().all()
        assert weights.sum() >= 0.9


def test_what_the_weights_sum_to_without_conflict() -> None:
    products, losses = gramian_of([2.0, 1.0], [1.0, 1.0]), torch.ones(2).double()
    torch.testing.assert_close(upgrad()(losses, products), losses / 2)
    torch.testing.assert_close(pcgrad()(losses, products), losses)
    torch.testing.assert_close(cagrad(0)(losses, products), losses / 2)
    assert float(imtl_g()(losses, products).sum()) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_imtl_g_of_two_losses_is_l2(seed: int) -> None:
    products, losses = random_gramian(2, seed, scale=10), torch.ones(2).double()
    torch.testing.assert_close(imtl_g()(losses, products), mgda("l2")(losses, products))


def test_pcgrad_is_decided_by_the_seed() -> None:
    products, losses = gramian_of([1.0, 0.0], [-0.5, 0.8], [-0.5, -0.9]), torch.ones(3).double()

    def draw(seed: int) -> tuple[float, ...]:
        torch.manual_seed(seed)
        return tuple(pcgrad()(losses, products).tolist())

    assert draw(0) == draw(0)
    assert len({draw(seed) for seed in range(8)}) > 1


@pytest.mark.parametrize("build", [upgrad, cagrad, pcgrad, imtl_g])
def test_a_missing_extra_is_named(build: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'voxangle\[balance\]'"):
        build()  # type: ignore[operator]
