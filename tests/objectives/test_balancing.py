"""Where the gradients are taken, and the one backward pass that follows."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchjd.aggregation import IMTLG, MGDA, CAGrad, GramianWeightedAggregator, PCGrad, UPGrad
from torchjd.autojac import jac_to_grad, mtl_backward
from torchjd.linalg import QuadprogProjector

from voxangle.objectives import aam_softmax_loss, supervised_contrastive_loss
from voxangle.objectives.balancers import Balancer, Uncertainty, equal, fixed, mgda, min_norm_weight
from voxangle.objectives.balancing import at_parameters, backward_balanced, mgda_parameters
from voxangle.objectives.jacobian_descent import cagrad, imtl_g, pcgrad, upgrad


class TwoHeads(nn.Module):
    """An encoder with batch norm and dropout under two heads, in float64."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(
            nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 3)
        )
        self.first, self.second = nn.Linear(3, 1), nn.Linear(3, 1)
        self.x = torch.randn(7, 5, dtype=torch.float64)
        self.double()

    def forward(self) -> tuple[list[Tensor], Tensor]:
        torch.manual_seed(1)
        z = self.encoder(self.x)
        return [self.first(z).square().mean(), 0.4 * (self.second(z) - 1).square().mean()], z

    def gradients(self) -> dict[str, Tensor]:
        """The accumulated gradients by name; they are forgotten."""
        taken = {name: p.grad for name, p in self.named_parameters() if p.grad is not None}
        self.zero_grad(set_to_none=True)
        return taken

    def gradients_of(self, loss: int) -> dict[str, Tensor]:
        self.zero_grad(set_to_none=True)
        losses, _ = self()
        losses[loss].backward()
        return self.gradients()

    def weighted(self, weights: tuple[float, ...]) -> dict[str, Tensor]:
        """What the weights make of each loss's own gradients, one backward pass after another."""
        total: dict[str, Tensor] = {}
        for loss, weight in enumerate(weights):
            for name, gradient in self.gradients_of(loss).items():
                total[name] = total.get(name, 0) + weight * gradient
        return total


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor], *, rtol: float = 1e-9) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=rtol, atol=1e-12, msg=name)


BALANCERS: dict[str, Callable[[TwoHeads], Balancer]] = {
    "equal": lambda _: equal(),
    "fixed": lambda _: fixed((3, 1)),
    "uncertainty": lambda _: Uncertainty(2),
    "mgda": lambda _: mgda(),
    "mgda l2": lambda _: mgda("l2"),
    "mgda loss": lambda _: mgda("loss", floor=0.1),
    "mgda loss+": lambda _: mgda("loss+"),
    "mgda_parameters": lambda model: mgda_parameters(model.encoder.parameters()),
    "upgrad": lambda _: upgrad(),
    "cagrad": lambda _: cagrad(),
    "pcgrad": lambda _: pcgrad(),
    "imtl_g": lambda _: imtl_g(),
    "imtl_g at parameters": lambda model: at_parameters(imtl_g(), model.encoder.parameters()),
    "one's own": lambda _: lambda losses, gramian: losses / gramian.diagonal(),
}


@pytest.mark.parametrize("name", BALANCERS)
def test_one_backward_gives_the_weighted_gradients_everywhere(name: str) -> None:
    model = TwoHeads()
    balance = backward_balanced(*model(), BALANCERS[name](model))
    assert all(weight > 0 for weight in balance.weights)
    same(model.gradients(), model.weighted(balance.weights))


@pytest.mark.parametrize("name", ["mgda", "mgda_parameters", "pcgrad"])
def test_a_head_gets_exactly_its_own_scaled_gradient(name: str) -> None:
    model = TwoHeads()
    first, second = balance = backward_balanced(*model(), BALANCERS[name](model)).weights
    assert sum(balance) >= 1 - 1e-12
    got = model.gradients()
    own = model.gradients_of(0), model.gradients_of(1)
    torch.testing.assert_close(got["first.weight"], first * own[0]["first.weight"], rtol=1e-12, atol=0)
    torch.testing.assert_close(got["second.weight"], second * own[1]["second.weight"], rtol=1e-12, atol=0)


def test_gradients_accumulate_as_backward_accumulates_them() -> None:
    model = TwoHeads()
    weights = backward_balanced(*model(), mgda()).weights
    backward_balanced(*model(), fixed(weights))
    same(model.gradients(), model.weighted(tuple(2 * weight for weight in weights)))


@pytest.mark.parametrize("name", ["mgda", "mgda_parameters"])
def test_batch_norm_and_dropout_advance_once_a_step(name: str) -> None:
    model = TwoHeads()
    losses, z = model()
    state, mean = torch.get_rng_state(), model.encoder[1].running_mean.clone()
    backward_balanced(losses, z, BALANCERS[name](model))
    assert int(model.encoder[1].num_batches_tracked) == 1
    assert torch.equal(model.encoder[1].running_mean, mean)
    assert torch.equal(torch.get_rng_state(), state)


def test_mgda_takes_the_min_norm_point_of_the_gradients_at_the_embeddings() -> None:
    losses, z = TwoHeads()()
    g1, g2 = (torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in losses)
    balance = backward_balanced(losses, z, mgda())
    assert balance.weights[0] == pytest.approx(float(min_norm_weight(g1, g2)), rel=1e-12)
    assert balance.gradient_norms == pytest.approx((float(g1.norm()), float(g2.norm())))
    assert balance.gradient_cosine == pytest.approx(float((g1 * g2).sum() / g1.norm() / g2.norm()))


def test_mgda_parameters_is_two_passes_and_the_min_norm_point_between_them() -> None:
    model = TwoHeads()
    passes = [
        torch.cat([g.flatten() for name, g in model.gradients_of(k).items() if name.startswith("encoder")])
        for k in (0, 1)
    ]
    alpha = float(min_norm_weight(*passes))
    balance = backward_balanced(*model(), mgda_parameters(model.encoder.parameters()))
    assert balance.weights == pytest.approx((alpha, 1 - alpha), rel=1e-9)
    assert balance.gradient_norms == pytest.approx([float(g.norm()) for g in passes])
    direction = alpha * passes[0] + (1 - alpha) * passes[1]
    assert all(direction @ g >= direction @ direction - 1e-12 for g in passes)
    assert balance.weights[0] != pytest.approx(backward_balanced(*model(), mgda()).weights[0], abs=1e-3)


def test_frozen_parameters_have_no_say() -> None:
    model = TwoHeads()
    model.encoder[0].requires_grad_(False)
    frozen = backward_balanced(*model(), mgda_parameters(model.encoder.parameters()))
    rest = [p for p in model.encoder.parameters() if p.requires_grad]
    assert frozen == backward_balanced(*model(), mgda_parameters(rest))


AGGREGATORS: dict[str, tuple[Callable[[], Balancer], Callable[[], GramianWeightedAggregator]]] = {
    "mgda": (mgda, lambda: MGDA(epsilon=1e-12, max_iters=1000)),
    "upgrad": (upgrad, lambda: UPGrad(projector=QuadprogProjector(reg_eps=1e-10))),
    "cagrad": (cagrad, lambda: CAGrad(c=0.5)),
    "pcgrad": (pcgrad, PCGrad),
    "imtl_g": (imtl_g, IMTLG),
}


@pytest.mark.parametrize("name", AGGREGATORS)
def test_the_encoder_gets_what_torchjd_aggregates_at_the_embeddings(name: str) -> None:
    ours, theirs = (build() for build in AGGREGATORS[name])
    model = TwoHeads()
    backward_balanced(*model(), ours)
    got = model.gradients()
    losses, z = model()
    jacobian = torch.stack([torch.autograd.grad(x, z, retain_graph=True)[0].flatten() for x in losses])
    z.backward(theirs(jacobian).reshape(z.shape))
    expected = model.gradients()
    same({name: got[name] for name in expected}, expected, rtol=1e-5)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_the_encoder_gets_what_torchjds_engine_gives_at_the_parameters(name: str) -> None:
    ours, theirs = (build() for build in AGGREGATORS[name])
    model = TwoHeads()
    shared = list(model.encoder.parameters())
    backward_balanced(*model(), at_parameters(ours, shared))
    got = model.gradients()
    losses, z = model()
    mtl_backward(losses, features=z, shared_params=shared, parallel_chunk_size=1)
    jac_to_grad(shared, theirs)
    expected = model.gradients()
    encoder = [name for name in expected if name.startswith("encoder")]
    same({name: got[name] for name in encoder}, {name: expected[name] for name in encoder}, rtol=1e-5)


@pytest.mark.parametrize("name", ["mgda", "mgda_parameters", "uncertainty"])
def test_unweighted_heads_keep_their_whole_gradient(name: str) -> None:
    model = TwoHeads()
    balancer = BALANCERS[name](model)
    weights = backward_balanced(*model(), balancer, unweighted=model.first.parameters()).weights
    got = model.gradients()
    whole, balanced = model.weighted((1, 1)), model.weighted(weights)
    expected = {name: (whole if name.startswith("first") else balanced)[name] for name in whole}
    same(got, expected)
    if name != "uncertainty":  # whose first weights are 1
        assert not torch.allclose(whole["first.weight"], balanced["first.weight"])
    backward_balanced(*model(), lambda losses, _: losses.new_tensor(weights))
    same(model.gradients(), balanced)  # for that step only


def test_an_unweighted_parameter_that_both_losses_reach_gets_the_sum_of_both() -> None:
    model = TwoHeads()
    weights = backward_balanced(*model(), mgda(), unweighted=[model.encoder[4].bias]).weights
    got, name = model.gradients(), "encoder.4.bias"
    same(got, model.weighted(weights) | {name: model.weighted((1, 1))[name]})


def test_a_head_that_no_loss_reaches_may_be_unweighted() -> None:
    model = TwoHeads()
    model.first.bias.requires_grad_(False)
    losses, z = model()
    backward_balanced(
        losses[1:], z, mgda(), unweighted=[*model.first.parameters(), *model.second.parameters()]
    )
    assert "first.weight" not in model.gradients()


def test_the_classifier_is_trained() -> None:
    """Trap 8 of public code: a backward pass from the embeddings leaves the heads where they began."""
    torch.manual_seed(0)
    encoder = nn.Linear(6, 5)
    prototypes = nn.Parameter(torch.randn(4, 5))
    x, labels = torch.randn(8, 6), torch.arange(4).repeat_interleave(2)
    optimizer = torch.optim.SGD([*encoder.parameters(), prototypes], lr=0.1)

    def losses() -> tuple[list[Tensor], Tensor]:
        z = encoder(x)
        return [aam_softmax_loss(z, labels, prototypes), supervised_contrastive_loss(z, labels)], z

    def defective() -> None:
        values, z = losses()
        gradients = [torch.autograd.grad(value, z, retain_graph=True)[0] for value in values]
        alpha = min_norm_weight(*gradients)
        z.backward(alpha * gradients[0] + (1 - alpha) * gradients[1])

    def moves_the_classifier(backward: Callable[[], object]) -> bool:
        before = prototypes.detach().clone()
        optimizer.zero_grad()
        backward()
        optimizer.step()
        return not torch.equal(prototypes, before)

    assert not moves_the_classifier(defective)
    assert moves_the_classifier(lambda: backward_balanced(*losses(), mgda()))
    assert moves_the_classifier(lambda: backward_balanced(*losses(), mgda_parameters(encoder.parameters())))


@pytest.mark.parametrize("name", BALANCERS)
def test_contrast_without_any_positive_pair_does_not_stop_training(name: str) -> None:
    model = TwoHeads()
    losses, z = model()
    contrast = supervised_contrastive_loss(z, torch.arange(7))
    weights = (
        backward_balanced([losses[0], contrast], z, BALANCERS[name](model)).weights
        if "own" not in name
        else (1,)
    )
    assert weights[0] > 0.2
    if name not in ("equal", "fixed", "uncertainty", "one's own"):
        assert weights == (1, 0)


def test_uncertainty_learns_beside_the_model() -> None:
    model, balancer = TwoHeads(), Uncertainty(2)
    losses, z = model()
    values = torch.stack(losses).detach()
    assert backward_balanced(losses, z, balancer).weights == (1, 1)
    torch.testing.assert_close(balancer.log_variances.grad, (1 - values).float())


def test_a_single_loss_is_a_plain_backward() -> None:
    for balancer in (mgda(), fixed((1, 1)), upgrad()):
        model = TwoHeads()
        losses, z = model()
        balance = backward_balanced(losses[:1], z, balancer)
        assert balance.weights == (1.0,)
        assert len(balance.gradient_norms) == 1
        assert math.isnan(balance.gradient_cosine)
        same(model.gradients(), model.gradients_of(0))


def test_three_losses_are_balanced() -> None:
    for balancer in (equal(), fixed((1, 2, 3)), Uncertainty(3), upgrad(), cagrad(), pcgrad(), imtl_g()):
        losses, z = TwoHeads()()
        assert len(backward_balanced([*losses, z.square().mean()], z, balancer).weights) == 3


@pytest.mark.parametrize("name", ["mgda", "upgrad", "imtl_g", "mgda_parameters"])
def test_gradients_of_1e_25_in_float32_are_balanced(name: str) -> None:
    model = TwoHeads().float()
    model.x = model.x.float()
    balancer = BALANCERS[name](model)
    expected = backward_balanced(*model(), balancer)
    losses, z = model()
    tiny = backward_balanced([loss * 1e-25 for loss in losses], z, balancer)
    assert tiny.weights == pytest.approx(expected.weights, rel=1e-4)
    assert tiny.gradient_norms == pytest.approx([1e-25 * norm for norm in expected.gradient_norms], rel=1e-4)
    assert tiny.gradient_cosine == pytest.approx(expected.gradient_cosine, rel=1e-4)


def test_autocast_leaves_the_balance_alone() -> None:
    losses, z = TwoHeads().float().double()()
    with torch.autocast("cpu", torch.bfloat16):
        under = backward_balanced(losses, z, mgda())
    assert under == backward_balanced(*TwoHeads().float().double()(), mgda())


def test_nan_reaches_every_gradient() -> None:
    model = TwoHeads()
    losses, z = model()
    balance = backward_balanced([losses[0], losses[1] * math.nan], z, mgda())
    assert all(math.isnan(weight) for weight in balance.weights)
    assert all(gradient.isnan().all() for gradient in model.gradients().values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _, z: backward_balanced([], z, mgda()), "losses must hold at least one loss, got none"),
        (
            lambda x, z: backward_balanced([x[0], z], z, mgda()),
            r"losses\[1\] must be a scalar, got shape \(7, 3\)",
        ),
        (lambda x, z: backward_balanced([x[0], x[1].detach()], z, mgda()), r"losses\[1\] does not depend on"),
        (lambda x, z: backward_balanced(x, z.clone(), mgda()), r"losses\[0\] does not depend on embeddings"),
        (lambda x, z: backward_balanced(x, z.detach(), mgda()), "embeddings must require gradients"),
        (
            lambda x, z: backward_balanced(x, z, lambda *_: torch.ones(3)),
            r"a weight for each of 2 losses, got \(3,\)",
        ),
        (lambda x, z: backward_balanced([*x, x[0]], z, mgda()), "mgda weighs two losses, got 3"),
        (lambda x, z: backward_balanced(x, z, fixed((1, 1, 1))), "one for each of the 2 losses"),
        (
            lambda *_: mgda_parameters([]),
            "parameters must hold one at least that requires gradients, got 0",
        ),
        (lambda _, z: mgda_parameters([z.detach()]), "parameters must hold one at least"),
    ],
)
def test_bad_input_is_refused_before_any_gradient_is_written(
    call: Callable[[list[Tensor], Tensor], object], message: str
) -> None:
    model = TwoHeads()
    with pytest.raises(ValueError, match=message):
        call(*model())
    assert not model.gradients()


def test_two_processes_find_the_weights_of_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("balance_across_ranks.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "error", script, str(rank), tmp_path / "meeting"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    try:
        said = [rank.communicate(timeout=300)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)
    assert all("compared" in words for words in said)
