"""A model's page says what its card says, and nothing else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.encoders.test_model_files import CARD, CONFIG, FULL
from voxangle.encoders import ModelCard
from voxangle.features import FilterbankConfig
from voxangle.runtime.model_page import model_page
from voxangle.runtime.onnx_metadata import ExportedCard

BARE = ModelCard(name="bare", encoder=CONFIG, filterbank=FilterbankConfig(bins=20))


@pytest.mark.parametrize(
    "said",
    [
        "# a small one\n",
        "| encoder | `architecture: ecapa_tdnn`, `bins: 20`, ",
        "voxangle verify --model models/mine one.wav other.wav",
        r"| pooled \| all | EER | 12.34 % | 10.00 % to 15.00 % | 100 | 2,000 | 40 |",
        "- EER: where the two error rates meet\n- a small list\n",
        "- `eer`: one voice from a cosine score of 0.3100 (40 validation trials: 10.0 % false acceptances, 10.0 %",
        "- Log-likelihood ratio: 12.5 x score -4.25 (40 validation trials).",
        "Recipe `demo`, seed 1: 3 steps on mine. The whole recipe is in the model's description.",
        "Replayed, synthetic and converted voices are not detected.",
        "## Licence\n\ncc-by-4.0\n",
        "- LibriSpeech (CC BY 4.0)\n- my friends\n",
    ],
)
def test_a_full_card(said: str) -> None:
    assert said in model_page(FULL, "models/mine")


def test_what_is_not_known_is_not_said() -> None:
    page = model_page(BARE, "m")
    for heading in ("## What was measured", "## Decision", "With thanks"):
        assert heading not in page
    assert "Not known." in page
    assert "Not chosen yet" in page


def test_an_imported_model_has_the_licence_stated_beside_its_weights() -> None:
    imported = FULL.model_copy(update={"training": None, "licence": None})
    page = model_page(imported, "m")
    assert "By Another; the weights were taken from its `w.pt`" in page
    assert "## Licence\n\nMIT\n" in page


def test_a_threshold_without_rates() -> None:
    (limit,) = CARD.thresholds
    bare = CARD.model_copy(update={"thresholds": (limit.model_copy(update={"false_acceptance": None}),)})
    assert "- `eer`: one voice from a cosine score of 0.3100 (40 validation trials).\n" in model_page(
        bare, "m"
    )


def test_an_exported_model_is_used_without_torch() -> None:
    exported = ExportedCard.model_validate(FULL.model_dump(mode="json"))
    page = model_page(exported, "m.onnx")
    assert "pip install 'voxangle[onnx]'" in page
    assert page == model_page(FULL, "m.onnx")
    assert "pip install 'voxangle[train]'" in model_page(FULL, "m")


@pytest.mark.parametrize(
    "said",
    [
        {"encoder": {"architecture": "\x1b[31mred", "dimension": 2}},
        {"metrics": [{"figure": 1}]},
        {"moods": "all"},
    ],
)
def test_an_exported_card_that_is_not_known_is_not_shown(said: dict[str, object]) -> None:
    exported = ExportedCard.model_validate(FULL.model_dump(mode="json") | said)
    with pytest.raises(ValidationError):
        model_page(exported, "m.onnx")
