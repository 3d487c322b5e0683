"""A mistake in an argument is told by its name, its value and the range it should lie in."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from voxangle.objectives import (
    aam_softmax_loss,
    class_aware_attention,
    own_class_posterior,
    supervised_contrastive_loss,
)

Z, Y, W = torch.randn(6, 4), torch.arange(6) % 3, torch.randn(3, 4)
A = torch.rand(6, 6)


def spoiled(entry: float) -> torch.Tensor:
    attention = A.clone()
    attention[2, 3] = entry
    return attention


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": Z.long()}, "embeddings must be floating-point, got torch.int64"),
        ({"embeddings": Z[0]}, r"embeddings must have shape \(N, D\) with N, D >= 1, got \(4,\)"),
        ({"embeddings": Z[:0], "labels": Y[:0]}, r"embeddings must have shape .* got \(0, 4\)"),
        ({"labels": Y[:5]}, r"labels must have shape \(6,\), one for each embedding, got \(5,\)"),
        ({"labels": Y[:, None]}, r"labels must have shape \(6,\), one for each embedding, got \(6, 1\)"),
        ({"labels": Y.float()}, "labels must be integers, got torch.float32"),
        ({"labels": Y > 1}, "labels must be integers, got torch.bool"),
        ({"temperature": 0.0}, "temperature must be finite and > 0, got 0.0"),
        ({"temperature": -0.1}, "temperature must be finite and > 0, got -0.1"),
        ({"temperature": math.nan}, "temperature must be finite and > 0, got nan"),
        ({"temperature": math.inf}, "temperature must be finite and > 0, got inf"),
        ({"margin": -0.1}, r"margin must lie in \[0, pi / 2\) radians, got -0.1"),
        ({"margin": math.pi / 2}, r"margin must lie in \[0, pi / 2\) radians, got 1.57"),
        ({"margin": math.nan}, r"margin must lie in \[0, pi / 2\) radians, got nan"),
        ({"margin_form": "all"}, "margin_form must be one of 'numerator', 'positive', 'arcface', got 'all'"),
        ({"attention_form": "weight"}, "attention_form must be one of 'logit', 'log_weight', got 'weight'"),
        ({"pairs": "positives"}, "pairs must be one of 'negatives', 'all', got 'positives'"),
        (
            {"attention": A[:5]},
            r"attention must have shape \(6, 6\) or \(6,\) for 6 embeddings, got \(5, 6\)",
        ),
        ({"attention": A[0, :5]}, r"attention must have shape \(6, 6\) or \(6,\) .* got \(5,\)"),
        ({"attention": (A > 0.5)}, "attention must be floating-point, got torch.bool"),
        ({"embeddings": Z.numpy()}, "embeddings must be a torch.Tensor, got numpy.ndarray"),
        ({"labels": Y.numpy()}, "labels must be a torch.Tensor, got numpy.ndarray"),
        ({"labels": [0, 1, 2, 0, 1, 2]}, "labels must be a torch.Tensor, got builtins.list"),
        ({"attention": A.numpy()}, "attention must be a torch.Tensor, got numpy.ndarray"),
        (
            {"temperature": nn.Parameter(torch.tensor(0.1))},
            "temperature must be a constant, got a tensor that req",
        ),
        (
            {"margin": nn.Parameter(torch.tensor(0.1))},
            "margin must be a constant, got a tensor that requires",
        ),
        ({"attention": spoiled(-0.5)}, r"attention must be finite and >= 0, got entries in \[-0.5, "),
        ({"attention": spoiled(math.nan)}, r"attention must be finite and >= 0, got entries in \[nan, nan\]"),
        ({"attention": spoiled(math.inf)}, r"attention must be finite and >= 0, got entries in .*inf\]"),
    ],
)
def test_the_contrastive_loss_names_the_mistake(changes: dict[str, object], message: str) -> None:
    arguments = {"embeddings": Z, "labels": Y} | changes
    with pytest.raises(ValueError, match=message):
        supervised_contrastive_loss(arguments.pop("embeddings"), arguments.pop("labels"), **arguments)


@pytest.mark.parametrize("function", [aam_softmax_loss, class_aware_attention, own_class_posterior])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": Z.int()}, "embeddings must be floating-point, got torch.int32"),
        ({"embeddings": torch.randn(6, 5)}, r"prototypes must have shape .* dimension 5, got \(3, 4\)"),
        ({"prototypes": W.numpy()}, "prototypes must be a torch.Tensor, got numpy.ndarray"),
        ({"prototypes": W[0]}, r"prototypes must have shape .* got \(4,\)"),
        ({"prototypes": W.long()}, "prototypes must be floating-point, got torch.int64"),
        ({"labels": Y + 1}, r"labels must lie in \[0, 3\), one number for each prototype, got 3"),
        ({"labels": Y - 1}, r"labels must lie in \[0, 3\), one number for each prototype, got -1"),
        ({"labels": Y.double()}, "labels must be integers, got torch.float64"),
        ({"scale": 0}, "scale must be finite and > 0, got 0"),
    ],
)
def test_what_asks_the_classifier_names_the_mistake(
    function: object, changes: dict[str, object], message: str
) -> None:
    arguments = {"embeddings": Z, "labels": Y, "prototypes": W} | changes
    positional = [arguments.pop(name) for name in ("embeddings", "labels", "prototypes")]
    with pytest.raises(ValueError, match=message):
        function(*positional, **arguments)


def test_attention_knows_its_normalisers() -> None:
    with pytest.raises(ValueError, match="normalise must be one of 'max', 'mean', None, got 'sum'"):
        class_aware_attention(Z, Y, W, normalise="sum")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32])
def test_labels_may_be_any_integers(dtype: torch.dtype) -> None:
    y = Y.to(dtype)
    assert torch.equal(supervised_contrastive_loss(Z, y), supervised_contrastive_loss(Z, Y))
    assert torch.equal(aam_softmax_loss(Z, y, W), aam_softmax_loss(Z, Y, W))
    assert torch.equal(class_aware_attention(Z, y, W), class_aware_attention(Z, Y, W))


def test_a_compiled_loss_still_looks_at_its_attention() -> None:
    compiled = torch.compile(supervised_contrastive_loss, backend="eager")
    torch.testing.assert_close(compiled(Z, Y, attention=A), supervised_contrastive_loss(Z, Y, attention=A))
    with pytest.raises(ValueError, match="attention must be finite"):
        compiled(Z, Y, attention=spoiled(-0.5))
