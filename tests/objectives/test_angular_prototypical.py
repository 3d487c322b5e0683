"""The angular prototypical loss against the definition, one query at a time, in batches of any make-up."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from voxangle.objectives.angular_prototypical import angular_prototypical_loss

SCALE, BIAS = torch.tensor(10.0, dtype=torch.float64), torch.tensor(-5.0, dtype=torch.float64)


def batch(seed: int = 0, *, samples: int = 14, speakers: int = 5) -> tuple[Tensor, Tensor]:
    """Speakers in any order, with any number of samples, one among them."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(speakers, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(speakers, (samples,), generator=generator)
    return centres[labels] + torch.randn(samples, 8, generator=generator, dtype=torch.float64), labels


def naive(embeddings: Tensor, labels: Tensor, scale: float = 10.0, bias: float = -5.0) -> float:
    """The definition, in plain numbers."""
    queries, centroids = [], []
    for speaker in sorted(set(labels.tolist())):
        own = [z for z, y in zip(embeddings.tolist(), labels.tolist(), strict=True) if y == speaker]
        if len(own) > 1:
            *others, query = own
            queries.append(query)
            centroids.append([sum(column) / len(others) for column in zip(*others, strict=True)])

    def cosine(first: list[float], second: list[float]) -> float:
        product = sum(a * b for a, b in zip(first, second, strict=True))
        return product / math.hypot(*first) / math.hypot(*second)

    total = 0.0
    for j, query in enumerate(queries):
        scores = [scale * cosine(query, centroid) + bias for centroid in centroids]
        total += math.log(sum(math.exp(score) for score in scores)) - scores[j]
    return total / len(queries)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 8), st.floats(0.1, 20), st.floats(-10, 10))
def test_it_is_the_naive_loop_for_speakers_in_any_order_and_number(
    seed: int, speakers: int, scale: float, bias: float
) -> None:
    embeddings, labels = batch(seed, speakers=speakers)
    ours = angular_prototypical_loss(embeddings, labels, torch.tensor(scale).double(), torch.tensor(bias))
    assert float(ours) == pytest.approx(naive(embeddings, labels, scale, bias), rel=1e-6, abs=1e-12)
    fixed = angular_prototypical_loss(embeddings, labels, SCALE, BIAS)
    assert float(fixed) == pytest.approx(naive(embeddings, labels), rel=1e-10)


def test_a_batch_of_speakers_by_utterances_is_a_softmax_over_the_speakers() -> None:
    cube = torch.randn(6, 3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    query, centroid = cube[:, -1], cube[:, :-1].mean(dim=1)
    cosine = functional.cosine_similarity(query[:, None], centroid[None], dim=2)
    expected = functional.cross_entropy(10 * cosine - 5, torch.arange(6))
    by_speaker = angular_prototypical_loss(
        cube.flatten(0, 1), torch.arange(6).repeat_interleave(3), SCALE, BIAS
    )
    torch.testing.assert_close(by_speaker, expected, rtol=1e-12, atol=0)
    by_utterance = angular_prototypical_loss(
        cube.transpose(0, 1).flatten(0, 1), torch.arange(6).repeat(3), SCALE, BIAS
    )
    torch.testing.assert_close(by_utterance, expected, rtol=1e-12, atol=0)


def test_the_query_has_no_part_in_its_centroid() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.2], [0.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1])
    ours = angular_prototypical_loss(embeddings, labels, SCALE, BIAS)
    centroid = torch.stack([embeddings[labels == y].mean(dim=0) for y in (0, 1)])
    leaking = functional.cosine_similarity(embeddings[2:, None], centroid[None], dim=2)
    assert functional.cross_entropy(10 * leaking, torch.arange(2)) < ours / 2


def test_gradients_are_those_of_finite_differences() -> None:
    embeddings, labels = batch(2)
    assert torch.autograd.gradcheck(
        lambda z, w, b: angular_prototypical_loss(z, labels, w, b),
        (embeddings.requires_grad_(), SCALE.clone().requires_grad_(), BIAS.clone().requires_grad_()),
    )


def test_the_softmax_cancels_the_bias() -> None:
    embeddings, labels = batch(3)
    values = [angular_prototypical_loss(embeddings, labels, SCALE, torch.tensor(b)) for b in (-5.0, 0.0, 7.0)]
    torch.testing.assert_close(torch.stack(values), values[0].expand(3))
    bias = BIAS.clone().requires_grad_()
    angular_prototypical_loss(embeddings, labels, SCALE, bias).backward()
    assert abs(float(bias.grad)) < 1e-15


def test_a_scale_below_zero_counts_as_the_least_one() -> None:
    embeddings, labels = batch(4)
    queries = int((labels.bincount() > 1).sum())
    below = angular_prototypical_loss(embeddings, labels, torch.tensor(-3.0), BIAS)
    assert float(below) == pytest.approx(math.log(queries), abs=1e-5)
    # The published code throws the clamped scale away; a negative one then trains speakers apart.
    scale = torch.tensor(-3.0)
    torch.clamp(scale, 1e-6)
    assert float(scale) == -3.0


def test_a_speaker_heard_once_has_no_part() -> None:
    embeddings, labels = batch(5)
    lonely = torch.randn(2, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    expected = angular_prototypical_loss(embeddings, labels, SCALE, BIAS)
    joined = torch.cat([lonely[:1], embeddings, lonely[1:]]).requires_grad_()
    names = torch.cat([torch.tensor([98]), labels, torch.tensor([99])])
    loss = angular_prototypical_loss(joined, names, SCALE, BIAS)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert not joined.grad[[0, -1]].any()


@pytest.mark.parametrize("samples", [1, 4])
def test_without_two_samples_of_anybody_the_loss_is_zero_with_a_zero_gradient(samples: int) -> None:
    embeddings = batch(6)[0][:samples].clone().requires_grad_()
    scale, bias = SCALE.clone().requires_grad_(), BIAS.clone().requires_grad_()
    loss = angular_prototypical_loss(embeddings, torch.arange(samples), scale, bias)
    loss.backward()
    assert float(loss.detach()) == 0
    for leaf in (embeddings, scale, bias):
        assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicates_antipodes_and_a_single_speaker_have_finite_gradients(dtype: torch.dtype) -> None:
    line = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=dtype)
    for names in ([0, 0, 0, 1, 1], [0, 1, 0, 1, 1], [0] * 5):
        embeddings = line.clone().requires_grad_()
        loss = angular_prototypical_loss(embeddings, torch.tensor(names), SCALE, BIAS)
        loss.backward()
        assert loss.isfinite()
        assert embeddings.grad.isfinite().all()


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_rotation_common_length_and_names_do_not_matter(seed: int, length: float) -> None:
    embeddings, labels = batch(seed)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    expected = angular_prototypical_loss(embeddings, labels, SCALE, BIAS)
    for changed, names in (
        (embeddings @ rotation, labels),
        (length * embeddings, labels),
        (embeddings, 7 - 3 * labels),
        (embeddings, labels.to(torch.uint8)),
    ):
        torch.testing.assert_close(angular_prototypical_loss(changed, names, SCALE, BIAS), expected)


def test_it_is_computed_in_float32_whatever_comes_in() -> None:
    embeddings, labels = batch(7)
    exact = angular_prototypical_loss(embeddings, labels, SCALE, BIAS)
    single = angular_prototypical_loss(embeddings.float(), labels, SCALE.float(), BIAS.float())
    assert (exact.dtype, single.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = angular_prototypical_loss(embeddings.float(), labels, SCALE.float(), BIAS.float())
    assert torch.equal(under_autocast, single)
    half = angular_prototypical_loss(embeddings.half(), labels, SCALE.float(), BIAS.float())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": torch.ones(14)}, "embeddings must have shape"),
        ({"labels": torch.zeros(13, dtype=torch.long)}, r"labels must have shape \(14,\)"),
        ({"labels": torch.zeros(14)}, "labels must be integers"),
        ({"scale": torch.ones(2)}, r"scale must be one floating-point number, got torch.float32 \(2,\)"),
        ({"bias": torch.tensor(1)}, "bias must be one floating-point number, got torch.int64"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Tensor], message: str) -> None:
    embeddings, labels = batch()
    arguments = {"embeddings": embeddings, "labels": labels, "scale": SCALE, "bias": BIAS}
    with pytest.raises(ValueError, match=message):
        angular_prototypical_loss(**(arguments | changes))
