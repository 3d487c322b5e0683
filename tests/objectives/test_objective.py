"""The objective that a recipe composes."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from voxangle.objectives import (
    Objective,
    ObjectiveConfig,
    aam_softmax_loss,
    class_aware_attention,
    supervised_contrastive_loss,
)


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(16) % 4
    return torch.randn(4, 8, generator=generator)[labels] + torch.randn(16, 8, generator=generator), labels


def test_the_full_objective_is_its_pieces() -> None:
    z, y = problem()
    config = ObjectiveConfig.model_validate(
        {
            "classification": {"margin": 0.3, "scale": 20},
            "contrastive": {
                "temperature": 0.2,
                "margin": 0.1,
                "margin_form": "positive",
                "attention": {"scale": 4, "form": "logit", "pairs": "all", "normalise": "mean"},
            },
        }
    )
    objective = Objective(config, speakers=4, dimension=8)
    losses = objective(z, y, margin_ramp=0.5)
    w = objective.prototypes
    attention = class_aware_attention(z, y, w, scale=4, normalise="mean")
    expected = {
        "classification": aam_softmax_loss(z, y, w, margin=0.15, scale=20),
        "contrastive": supervised_contrastive_loss(
            z, y, temperature=0.2, margin=0.1, margin_form="positive", attention=attention, pairs="all"
        ),
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_each_part_can_be_switched_off() -> None:
    z, y = problem()

    def names(settings: dict[str, object], *, contrast: bool = True) -> set[str]:
        config = ObjectiveConfig.model_validate(settings)
        return set(Objective(config, speakers=4, dimension=8)(z, y, contrast=contrast))

    assert names({}) == {"classification", "contrastive"}
    assert names({}, contrast=False) == {"classification"}
    assert names({"contrastive": None}) == {"classification"}
    assert names({"classification": None, "contrastive": {"attention": None}}) == {"contrastive"}

    def contrast(settings: dict[str, object]) -> float:
        torch.manual_seed(0)
        config = ObjectiveConfig.model_validate({"contrastive": settings})
        return float(Objective(config, speakers=4, dimension=8)(z, y)["contrastive"])

    values = {contrast({}), contrast({"attention": None}), contrast({"margin": 0.0, "attention": None})}
    assert len(values) == 3


def test_contrast_enters_after_a_warm_up_only_where_there_is_a_classifier() -> None:
    assert ObjectiveConfig().contrast_begins == 0.3
    alone = {"classification": None, "contrastive": {"attention": None}}
    assert ObjectiveConfig.model_validate(alone).contrast_begins == 0
    assert ObjectiveConfig(contrast_from=0.0).contrast_begins == 0


def test_balancing_is_mgda_unless_it_says_otherwise() -> None:
    assert ObjectiveConfig.model_validate({"balancing": {"floor": 0.1}}).balancing.kind == "mgda"
    assert ObjectiveConfig.model_validate({"balancing": {"kind": "fixed"}}).balancing.kind == "fixed"


@pytest.mark.parametrize(
    "settings",
    [
        {"classification": None, "contrastive": None},
        {"classification": None},
        {"classification": None, "contrastive": {"attention": None}, "contrast_from": 0.5},
    ],
)
def test_an_objective_that_cannot_train_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ObjectiveConfig.model_validate(settings)


def test_the_objective_overfits_eight_speakers() -> None:
    torch.manual_seed(0)
    labels = torch.arange(8).repeat_interleave(4)
    z = torch.nn.Parameter(torch.randn(32, 16))
    objective = Objective(ObjectiveConfig(), speakers=8, dimension=16)
    optimizer = torch.optim.Adam([z, *objective.parameters()], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        sum(objective(z, labels).values()).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(z.detach(), dim=1)
    cosine = unit @ unit.T
    same = labels[:, None] == labels[None, :]
    assert cosine[same].min() > 0.9
    assert cosine[~same].max() < 0.5
