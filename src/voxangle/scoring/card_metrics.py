"""The figures of a result as a model's card states them."""

from __future__ import annotations

from voxangle.encoders.card import Metric
from voxangle.scoring.result import DetectionCost, Measure, Result

__all__ = ["card_metrics"]


def card_metrics(result: Result) -> list[Metric]:
    """EER and minimum costs of a result, with their intervals, the size of the list and the notes that go with it."""
    counts = result.counts
    also = f"; {result.protocol.learnt}" if result.protocol.learnt else ""
    return [
        Metric(
            trials=result.name,
            trials_sha256=result.trials_sha256,
            name=_name(measure),
            value=measure.value,
            low=measure.low,
            high=measure.high,
            targets=counts.targets,
            nontargets=counts.nontargets,
            speakers=counts.speakers,
            definition=measure.definition + also,
            notes=result.notes,
        )
        for measure in (result.eer, *result.min_dcf)
    ]


def _name(measure: Measure) -> str:
    return f"minDCF({measure.p_target:g})" if isinstance(measure, DetectionCost) else "EER"
