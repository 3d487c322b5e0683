"""Classification with an additive angular margin (AAM-softmax, ArcFace)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from voxangle.objectives.margins import additive_angular_margin
from voxangle.objectives.precision import full_precision, promote

__all__ = ["aam_softmax_loss"]


def aam_softmax_loss(
    embeddings: Tensor, labels: Tensor, prototypes: Tensor, *, margin: float = 0.2, scale: float = 32.0
) -> Tensor:
    r"""Cross-entropy over scaled cosines to the prototypes, the true one behind an angular margin.

    .. math::
        L = -\frac1N \sum_i \log \frac{e^{s\,\phi(\theta_{i y_i})}}
        {e^{s\,\phi(\theta_{i y_i})} + \sum_{k \ne y_i} e^{s \cos\theta_{ik}}}

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers in [0, C).
        prototypes: (C, D), one a speaker, any norm but zero.
        margin: m in radians, >= 0.
        scale: s > 0.

    Returns:
        The mean loss, a scalar in float32 (float64 if the embeddings are).

    Source: ArcFace, arXiv 1801.07698, equation 3.
    """
    with full_precision(embeddings):
        cosine = (
            functional.normalize(promote(embeddings), dim=1)
            @ functional.normalize(promote(prototypes), dim=1).T
        )
        true = labels[:, None]
        with_margin = cosine.scatter(1, true, additive_angular_margin(cosine.gather(1, true), margin))
        return functional.cross_entropy(scale * with_margin, labels)
