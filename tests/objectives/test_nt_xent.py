"""NT-Xent with a margin against the definition, one pair at a time, and an independent library."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import NTXentLoss
from torch import Tensor
from torch.nn import functional

from voxangle.objectives.nt_xent import nt_xent_am_loss


def batch(seed: int = 0, *, samples: int = 12, names: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(names, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(names, (samples,), generator=generator)
    return centres[labels] + torch.randn(samples, 8, generator=generator, dtype=torch.float64), labels


def two_views(seed: int = 0, utterances: int = 7) -> tuple[Tensor, Tensor]:
    views = torch.randn(2 * utterances, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return views, torch.arange(utterances).repeat(2)


def naive(embeddings: Tensor, labels: Tensor, *, temperature: float, margin: float) -> float:
    """The definition, one ordered pair at a time."""
    vectors = [vector / vector.norm() for vector in embeddings]
    everybody = range(len(vectors))
    losses = []
    for i in everybody:
        against = sum(
            math.exp(float(vectors[i] @ vectors[n]) / temperature)
            for n in everybody
            if labels[n] != labels[i]
        )
        for p in everybody:
            if p != i and labels[p] == labels[i]:
                score = (float(vectors[i] @ vectors[p]) - margin) / temperature
                losses.append(math.log(math.exp(score) + against) - score)
    return sum(losses) / len(losses)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 8), st.floats(0.05, 2), st.floats(0, 1.9))
def test_it_is_the_naive_double_loop(seed: int, names: int, temperature: float, margin: float) -> None:
    embeddings, labels = batch(seed, names=names)
    options = {"temperature": temperature, "margin": margin}
    ours = nt_xent_am_loss(embeddings, labels, **options)
    assert float(ours) == pytest.approx(naive(embeddings, labels, **options), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("labelled", [two_views(), batch()], ids=["two views", "speakers"])
def test_without_margin_a_library_agrees_in_value_and_gradient(labelled: tuple[Tensor, Tensor]) -> None:
    embeddings, labels = labelled[0].clone().requires_grad_(), labelled[1]
    ours = nt_xent_am_loss(embeddings, labels, temperature=0.2, margin=0)
    theirs = NTXentLoss(temperature=0.2)(embeddings, labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=0)
    (by_us,), (by_them) = torch.autograd.grad(ours, embeddings), torch.autograd.grad(theirs, embeddings)
    torch.testing.assert_close(by_us, by_them[0], rtol=1e-8, atol=1e-12)


def test_two_views_are_a_softmax_over_the_positive_and_the_negatives() -> None:
    views, labels = two_views(1)
    unit = functional.normalize(views, dim=1)
    cosine = unit @ unit.T
    twin = torch.arange(14).roll(7)
    positive = cosine[torch.arange(14), twin] - 0.1
    negative = cosine[labels[:, None] != labels].view(14, 12)
    logits = 30 * torch.cat([positive[:, None], negative], dim=1)
    expected = functional.cross_entropy(logits, torch.zeros(14, dtype=torch.long))
    ours = nt_xent_am_loss(views, labels, temperature=1 / 30, margin=0.1)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)


def test_no_other_positive_stands_in_the_denominator() -> None:
    # An anchor with a near and a far positive and hardly any negative: to tell the two positives apart is no aim.
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.6, 0.8], [-1.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1])
    ours = nt_xent_am_loss(embeddings, labels, margin=0)
    logits = functional.normalize(embeddings, dim=1) @ functional.normalize(embeddings, dim=1).T / 0.07
    everybody = logits.fill_diagonal_(-math.inf).logsumexp(dim=1)
    defective = (everybody[0] - logits[0, 2]).item()
    assert defective > 5
    assert float(ours) < 1e-4


def test_gradients_are_those_of_finite_differences() -> None:
    embeddings, labels = batch(2)
    assert torch.autograd.gradcheck(
        lambda z: nt_xent_am_loss(z, labels, temperature=0.5, margin=0.2), embeddings.requires_grad_()
    )


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_order_rotation_length_and_names_do_not_matter(seed: int, length: float) -> None:
    embeddings, labels = batch(seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(12, generator=generator)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    expected = nt_xent_am_loss(embeddings, labels)
    for changed, names in (
        (embeddings[order], labels[order]),
        (embeddings @ rotation, labels),
        (length * embeddings, labels),
        (embeddings, 7 - 3 * labels),
        (embeddings, labels.to(torch.uint8)),
    ):
        torch.testing.assert_close(nt_xent_am_loss(changed, names), expected)


def test_the_loss_grows_with_the_margin() -> None:
    embeddings, labels = batch(3, samples=40)
    values = [float(nt_xent_am_loss(embeddings, labels, margin=m)) for m in (0.0, 0.1, 0.4, 1.5)]
    assert values == sorted(set(values))


@pytest.mark.parametrize("names", [[0, 1, 2, 3, 4], [0] * 5])
def test_without_positives_or_without_negatives_the_loss_is_zero_with_a_zero_gradient(
    names: list[int],
) -> None:
    embeddings = batch(4)[0][:5].clone().requires_grad_()
    loss = nt_xent_am_loss(embeddings, torch.tensor(names))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicates_and_antipodes_have_finite_gradients(dtype: torch.dtype) -> None:
    line = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=dtype)
    embeddings = line.requires_grad_()
    loss = nt_xent_am_loss(embeddings, torch.tensor([0, 0, 0, 1, 1]), temperature=0.005)
    loss.backward()
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all()


def test_the_logarithm_of_a_ratio_forgets_the_worst_pairs() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.1], [-1.0, 0.1]], requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    ours = nt_xent_am_loss(embeddings, labels, temperature=0.01, margin=0)
    assert float(ours.detach()) == pytest.approx(
        naive(embeddings.detach().double(), labels, temperature=0.01, margin=0), rel=1e-4
    )
    (gradient,) = torch.autograd.grad(ours, embeddings)
    assert gradient.any()

    unit = functional.normalize(embeddings, dim=1)
    logits = unit @ unit.T / 0.01
    top = logits.max(dim=1, keepdim=True).values.detach()
    ratio = (logits[0, 1] - top[0]).exp() / (logits[0, 1:] - top[0]).exp().sum()
    defective = -(ratio + torch.finfo(torch.float32).tiny).log()
    assert float(defective.detach()) < 90  # the truth is 200
    (gradient,) = torch.autograd.grad(defective, embeddings)
    assert not gradient.any()


def test_it_is_computed_in_float32_whatever_comes_in() -> None:
    embeddings, labels = batch(5)
    exact = nt_xent_am_loss(embeddings, labels)
    single = nt_xent_am_loss(embeddings.float(), labels)
    assert (exact.dtype, single.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nt_xent_am_loss(embeddings.float(), labels), single)
    half = nt_xent_am_loss(embeddings.half(), labels)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": torch.ones(12)}, "embeddings must have shape"),
        ({"labels": torch.zeros(13, dtype=torch.long)}, r"labels must have shape \(12,\)"),
        ({"temperature": 0.0}, "temperature must be finite and > 0, got 0.0"),
        ({"margin": -0.1}, r"margin must lie in \[0, 2\), in units of cosine, got -0.1"),
        ({"margin": 2.0}, r"margin must lie in \[0, 2\), in units of cosine, got 2.0"),
    ],
)
def test_bad_input_is_named(changes: dict[str, object], message: str) -> None:
    embeddings, labels = batch()
    with pytest.raises(ValueError, match=message):
        nt_xent_am_loss(**({"embeddings": embeddings, "labels": labels} | changes))
