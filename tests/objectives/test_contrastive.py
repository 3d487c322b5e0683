"""The contrastive loss and its margin, against a naive double loop and an independent library."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor

from voxangle.objectives import (
    additive_angular_margin,
    class_aware_attention,
    own_class_posterior,
    supervised_contrastive_loss,
)

FORMS = ["numerator", "positive", "arcface"]


def batch(seed: int = 0, samples: int = 12, dimension: int = 8, speakers: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(speakers, dimension, generator=generator, dtype=torch.float64)
    labels = torch.arange(samples) % speakers
    noise = torch.randn(samples, dimension, generator=generator, dtype=torch.float64)
    return centres[labels] + noise, labels


def weights(seed: int, samples: int) -> Tensor:
    half = torch.rand(samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.9 + 0.1
    return torch.minimum(half[:, None], half[None, :])


def naive(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    margin: float = 0.0,
    margin_form: str = "numerator",
    attention: Tensor | None = None,
    attention_form: str = "logit",
    pairs: str = "negatives",
) -> float:
    """The definition, one pair at a time, with angles."""
    vectors = [vector / vector.norm() for vector in embeddings]
    total = anchors = 0
    for i, anchor in enumerate(vectors):
        positives = [j for j in range(len(vectors)) if j != i and labels[j] == labels[i]]
        negatives = [j for j in range(len(vectors)) if labels[j] != labels[i]]
        if not positives:
            continue

        def logit(j: int, m: float, i: int = i, anchor: Tensor = anchor) -> float:
            angle = math.acos(min(1.0, max(-1.0, float(anchor @ vectors[j]))))
            phi = math.cos(angle + m) if angle <= math.pi - m else math.cos(angle) - (1 - math.cos(m))
            value = phi / temperature
            if attention is not None and (pairs == "all" or labels[i] != labels[j]):
                weight = float(attention[i, j])
                value = value * weight if attention_form == "logit" else value + math.log(weight)
            return value

        against = sum(math.exp(logit(n, 0.0)) for n in negatives)
        loss = 0.0
        for p in positives:
            if margin_form == "numerator":
                denominator = against + sum(math.exp(logit(q, 0.0)) for q in positives)
            elif margin_form == "positive":
                denominator = against + sum(math.exp(logit(q, margin)) for q in positives)
            else:
                denominator = against + math.exp(logit(p, margin))
            loss -= logit(p, margin) - math.log(denominator)
        total += loss / len(positives)
        anchors += 1
    return total / anchors


@pytest.mark.parametrize("margin_form", FORMS)
@pytest.mark.parametrize("margin", [0.0, 0.2])
@pytest.mark.parametrize("attention_form", [None, "logit", "log_weight"])
@pytest.mark.parametrize("pairs", ["negatives", "all"])
def test_every_form_is_the_naive_double_loop(
    margin_form: str, margin: float, attention_form: str | None, pairs: str
) -> None:
    embeddings, labels = batch()
    options = {"temperature": 0.3, "margin": margin, "margin_form": margin_form}
    if attention_form:
        options |= {"attention": weights(1, 12), "attention_form": attention_form, "pairs": pairs}
    ours = supervised_contrastive_loss(embeddings, labels, **options)
    assert float(ours) == pytest.approx(naive(embeddings, labels, **options), rel=1e-10)


def test_without_margin_it_is_supcon() -> None:
    embeddings, labels = batch(3, samples=20)
    theirs = SupConLoss(temperature=0.1)(embeddings, labels)
    for form in ("numerator", "positive"):
        ours = supervised_contrastive_loss(embeddings, labels, temperature=0.1, margin_form=form)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_the_numerator_form_adds_the_mean_widening_to_supcon() -> None:
    embeddings, labels = batch(5)
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    cosine = unit @ unit.T
    positive = (labels[:, None] == labels[None, :]) & ~torch.eye(12, dtype=torch.bool)
    gap = (cosine - additive_angular_margin(cosine.fill_diagonal_(0), 0.2))[positive].mean() / 0.07
    plain = supervised_contrastive_loss(embeddings, labels)
    torch.testing.assert_close(supervised_contrastive_loss(embeddings, labels, margin=0.2), plain + gap)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 100))
def test_it_ignores_order_rotation_and_length(seed: int, length: float) -> None:
    embeddings, labels = batch(seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(12, generator=generator)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    expected = supervised_contrastive_loss(embeddings, labels, margin=0.2)
    for changed, names in (
        (embeddings[order], labels[order]),
        (embeddings @ rotation, labels),
        (embeddings * length, labels),
    ):
        torch.testing.assert_close(supervised_contrastive_loss(changed, names, margin=0.2), expected)


@pytest.mark.parametrize("margin_form", FORMS)
def test_gradients_are_those_of_finite_differences(margin_form: str) -> None:
    embeddings, labels = batch(7, samples=6, dimension=4, speakers=2)
    embeddings.requires_grad_()
    attention = weights(2, 6)
    assert torch.autograd.gradcheck(
        lambda z: supervised_contrastive_loss(
            z, labels, temperature=0.5, margin=0.2, margin_form=margin_form, attention=attention, pairs="all"
        ),
        embeddings,
    )


@pytest.mark.parametrize("margin_form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicates_and_antipodes_give_finite_gradients(margin_form: str, dtype: torch.dtype) -> None:
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=dtype)
    one.requires_grad_()
    loss = supervised_contrastive_loss(
        one, torch.tensor([0, 0, 0, 1, 1]), margin=0.3, margin_form=margin_form
    )
    loss.backward()
    assert loss.isfinite()
    assert one.grad is not None
    assert one.grad.isfinite().all()


@pytest.mark.parametrize("margin_form", FORMS)
def test_anchors_without_a_positive_do_not_count(margin_form: str) -> None:
    embeddings, labels = batch(9)
    lonely = torch.cat([embeddings, torch.randn(1, 8, dtype=torch.float64)])
    names = torch.cat([labels, torch.tensor([99])])
    options = {"temperature": 0.3, "margin": 0.1, "margin_form": margin_form}
    got = supervised_contrastive_loss(lonely, names, **options)
    assert float(got) == pytest.approx(naive(lonely, names, **options), rel=1e-10)
    alone = embeddings[:4].clone().requires_grad_()
    nothing = supervised_contrastive_loss(alone, torch.arange(4), margin=0.1, margin_form=margin_form)
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert torch.equal(alone.grad, torch.zeros_like(alone))


@pytest.mark.parametrize("margin_form", FORMS)
def test_one_speaker_in_the_batch_is_finite(margin_form: str) -> None:
    embeddings = batch()[0].requires_grad_()
    loss = supervised_contrastive_loss(
        embeddings, torch.zeros(12, dtype=torch.long), margin=0.2, margin_form=margin_form
    )
    loss.backward()
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("margin_form", FORMS)
def test_the_loss_grows_with_the_margin(margin_form: str) -> None:
    embeddings, labels = batch(11, samples=40)
    values = [
        float(supervised_contrastive_loss(embeddings, labels, margin=m, margin_form=margin_form))
        for m in (0.0, 0.1, 0.2, 0.3)
    ]
    assert values == sorted(values)
    assert values[0] < values[-1]


@settings(max_examples=50)
@given(st.floats(0.0, 1.5))
def test_the_widened_cosine_never_rises_or_jumps_with_the_angle(margin: float) -> None:
    angle = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    phi = additive_angular_margin(angle.cos(), margin)
    step = phi.diff()
    assert step.max() <= 1e-12
    assert step.abs().max() < 1e-3
    if margin == 0:
        assert torch.equal(phi, angle.cos())


def test_weighing_every_logit_by_k_is_a_temperature_divided_by_k() -> None:
    embeddings, labels = batch(13)
    half = torch.full((12, 12), 0.5, dtype=torch.float64)
    weighed = supervised_contrastive_loss(
        embeddings, labels, temperature=0.1, attention=half, attention_form="logit", pairs="all"
    )
    torch.testing.assert_close(weighed, supervised_contrastive_loss(embeddings, labels, temperature=0.2))


@pytest.mark.parametrize("form", ["logit", "log_weight"])
def test_a_doubtful_negative_pulls_less(form: str) -> None:
    unit = torch.nn.functional.normalize(batch(15)[0], dim=1)
    labels = torch.arange(12) % 4
    pulls = []
    for belief in (1.0, 0.7, 0.4, 0.1):
        attention = torch.ones(12, 12, dtype=torch.float64)
        attention[0, 1] = attention[1, 0] = belief
        cosine = (unit @ unit.T).abs().requires_grad_()
        # A Cholesky factor of the similarities stands in for the embeddings, so that one pair can be moved.
        factor = torch.linalg.cholesky(cosine + 3 * torch.eye(12, dtype=torch.float64))
        loss = supervised_contrastive_loss(
            factor, labels, temperature=0.3, attention=attention, attention_form=form
        )
        pulls.append(float(torch.autograd.grad(loss, cosine)[0][0, 1].abs()))
    assert pulls == sorted(pulls, reverse=True)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(FORMS))
def test_weights_of_one_are_no_weights(seed: int, margin_form: str) -> None:
    embeddings, labels = batch(seed)
    bare = supervised_contrastive_loss(embeddings, labels, margin=0.2, margin_form=margin_form)
    for attention in (torch.ones(12, 12), torch.ones(12)):
        for form in ("logit", "log_weight"):
            for pairs in ("negatives", "all"):
                weighed = supervised_contrastive_loss(
                    embeddings,
                    labels,
                    margin=0.2,
                    margin_form=margin_form,
                    attention=attention.double(),
                    attention_form=form,
                    pairs=pairs,
                )
                torch.testing.assert_close(weighed, bare, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("margin_form", FORMS)
def test_a_far_negative_barely_moves_the_loss_and_a_near_one_raises_it(margin_form: str) -> None:
    embeddings, labels = batch(25, speakers=2)
    embeddings[:, 0] += 8  # all in one half of the sphere, so that its other pole is far from everybody
    centre = torch.nn.functional.normalize(embeddings, dim=1).mean(dim=0)

    def with_negative(vector: Tensor) -> float:
        z, y = torch.cat([embeddings, vector[None]]), torch.cat([labels, torch.tensor([9])])
        return float(supervised_contrastive_loss(z, y, margin=0.2, margin_form=margin_form))

    before = float(supervised_contrastive_loss(embeddings, labels, margin=0.2, margin_form=margin_form))
    near = max(with_negative(vector) for vector in embeddings)
    far = with_negative(-centre)
    assert abs(far - before) < 0.05 * (near - before)
    assert near > before + 0.1


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.5, 30), st.sampled_from(["max", "mean", None]))
def test_attention_is_positive_symmetric_and_not_constant(
    seed: int, scale: float, normalise: str | None
) -> None:
    embeddings, labels = batch(seed)
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(4, 8, generator=generator, dtype=torch.float64)
    # A sample on its prototype and one on a stranger's: where all are equally certain, attention may well be constant.
    embeddings[:2] = prototypes[labels[0]]
    labels[1] = (labels[0] + 1) % 4
    attention = class_aware_attention(embeddings, labels, prototypes, scale=scale, normalise=normalise)
    assert attention.min() > 0
    assert torch.equal(attention, attention.T)
    assert attention.max() > 1.01 * attention.min()
    if normalise == "max":
        assert float(attention.max()) == pytest.approx(1)
    elif normalise is None:
        assert attention.max() <= 1


def test_half_precision_embeddings_are_computed_in_float32() -> None:
    embeddings, labels = batch(17)
    exact = supervised_contrastive_loss(embeddings, labels, margin=0.1)
    single = supervised_contrastive_loss(embeddings.float(), labels, margin=0.1)
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = supervised_contrastive_loss(embeddings.float(), labels, margin=0.1)
    assert torch.equal(under_autocast, single)
    half = supervised_contrastive_loss(embeddings.half(), labels, margin=0.1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=2e-2, atol=2e-2)


def test_attention_is_the_smaller_of_two_posteriors() -> None:
    embeddings, labels = batch(19)
    prototypes = torch.randn(4, 8, dtype=torch.float64)
    raw = class_aware_attention(embeddings, labels, prototypes, scale=5, normalise=None)
    unit, centres = (x / x.norm(dim=1, keepdim=True) for x in (embeddings, prototypes))
    posterior = [
        math.exp(5 * float(z @ centres[y])) / sum(math.exp(5 * float(z @ w)) for w in centres)
        for z, y in zip(unit, labels, strict=True)
    ]
    for i in range(12):
        for j in range(12):
            assert float(raw[i, j]) == pytest.approx(min(posterior[i], posterior[j]))
    scaled = class_aware_attention(embeddings, labels, prototypes, scale=5)
    torch.testing.assert_close(scaled, raw / max(posterior))
    assert torch.equal(scaled, scaled.T)
    assert 0 < scaled.min() < scaled.max() <= 1


def test_a_mislabelled_sample_weighs_little() -> None:
    prototypes = torch.eye(4, dtype=torch.float64)
    embeddings = prototypes.repeat(2, 1)
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2, 0])  # the last one sounds like speaker 3
    attention = class_aware_attention(embeddings, labels, prototypes)
    assert attention[7].max() < 0.01
    assert attention[:7, :7].min() > 0.9


@pytest.mark.parametrize("normalise", ["max", "mean", None])
@pytest.mark.parametrize("margin_form", FORMS)
def test_attention_that_underflows_stays_positive_and_the_loss_finite(
    normalise: str | None, margin_form: str
) -> None:
    embeddings, labels = batch(23)
    z = embeddings.float().requires_grad_()
    attention = class_aware_attention(z, labels, torch.randn(4, 8), scale=1000, normalise=normalise)
    assert attention.min() > 0
    loss = supervised_contrastive_loss(
        z, labels, margin_form=margin_form, attention=attention, attention_form="log_weight", pairs="all"
    )
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("normalise", ["max", "mean", None])
def test_the_posterior_is_divided_by_what_it_says(normalise: str | None) -> None:
    embeddings, labels = batch(27)
    prototypes = torch.randn(4, 8, generator=torch.Generator().manual_seed(27), dtype=torch.float64)
    unit, centres = (x / x.norm(dim=1, keepdim=True) for x in (embeddings, prototypes))
    raw = [(10 * unit[i] @ centres.T).softmax(0)[labels[i]] for i in range(12)]
    divisor = {"max": max(raw), "mean": sum(raw) / 12, None: 1}[normalise]
    ours = own_class_posterior(embeddings, labels, prototypes, normalise=normalise)
    torch.testing.assert_close(ours, torch.stack(raw) / divisor)
    # Under autocast nothing changes.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        single = own_class_posterior(embeddings.float(), labels, prototypes.float(), normalise=normalise)
    torch.testing.assert_close(single.double(), ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["logit", "log_weight"])
def test_attention_of_low_precision_is_computed_with_in_float32(dtype: torch.dtype, form: str) -> None:
    embeddings, labels = batch(29, samples=60)
    low = weights(29, 60)[0].to(dtype).requires_grad_()
    exact = low.detach().float().requires_grad_()
    options = {"margin": 0.2, "attention_form": form, "pairs": "all"}
    one, two = (
        supervised_contrastive_loss(embeddings.float(), labels, attention=a, block_size=b, **options)
        for a, b in ((low, 1), (exact, 60))
    )
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    # Sixty blocks, and not more than the one rounding at the end.
    slope, wanted = torch.autograd.grad(one, low)[0], torch.autograd.grad(two, exact)[0]
    assert slope.dtype == dtype
    assert (slope.float() - wanted).norm() < 1.1 * (wanted.to(dtype).float() - wanted).norm() + 1e-6


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (
            supervised_contrastive_loss,
            {
                "temperature": 0.07,
                "margin": 0.0,
                "margin_form": "numerator",
                "attention": None,
                "attention_form": "logit",
                "pairs": "negatives",
                "block_size": None,
            },
        ),
        (class_aware_attention, {"scale": 10.0, "normalise": "max", "detach": True}),
        (own_class_posterior, {"scale": 10.0, "normalise": "max", "detach": True}),
    ],
)
def test_the_defaults_are_those_that_the_method_states(
    function: Callable[..., Tensor], defaults: dict[str, object]
) -> None:
    parameters = inspect.signature(function).parameters.values()
    assert {p.name: p.default for p in parameters if p.default is not p.empty} == defaults


def test_no_gradient_flows_through_attention_unless_asked() -> None:
    embeddings, labels = batch(21)
    embeddings.requires_grad_()
    prototypes = torch.randn(4, 8, dtype=torch.float64)
    assert not class_aware_attention(embeddings, labels, prototypes).requires_grad
    assert class_aware_attention(embeddings, labels, prototypes, detach=False).requires_grad
