"""The objective that a recipe composes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from voxangle.errors import RecipeError
from voxangle.metrics import eer
from voxangle.objectives import (
    Balancer,
    Objective,
    ObjectiveConfig,
    aam_softmax_loss,
    am_softmax_loss,
    angular_prototypical_loss,
    backward_balanced,
    cagrad,
    class_aware_attention,
    contrasts,
    equal,
    fixed,
    imtl_g,
    mgda,
    nt_xent_am_loss,
    pcgrad,
    softmax_loss,
    sphereface2_initial_bias,
    sphereface2_loss,
    supervised_contrastive_loss,
    upgrad,
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
    w = objective.classification.prototypes
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


@pytest.mark.parametrize("kind", ["softmax", "am_softmax", "aam_softmax", "sphereface2"])
@pytest.mark.parametrize("contrast", ["supervised", "nt_xent_am", "angular_prototypical"])
def test_every_classifier_trains_beside_every_contrast(kind: str, contrast: str) -> None:
    torch.manual_seed(0)
    z, y = problem()
    z = torch.nn.Parameter(z)
    config = ObjectiveConfig.model_validate(
        {"classification": {"kind": kind}, "contrastive": {"kind": contrast}, "balancing": {"kind": "equal"}}
    )
    objective = Objective(config, speakers=4, dimension=8)
    optimizer = torch.optim.Adam([z, *objective.parameters()], lr=0.05)
    before = {name: parameter.detach().clone() for name, parameter in objective.named_parameters()}
    course = []
    for _ in range(100):
        optimizer.zero_grad()
        losses = objective(z, y)
        backward_balanced(losses.values(), z, objective.balancer(torch.nn.Identity()))
        optimizer.step()
        course.append({name: float(loss.detach()) for name, loss in losses.items()})
    assert all(course[-1][name] < 0.5 * course[0][name] for name in ("classification", "contrastive"))
    for name, parameter in objective.named_parameters():
        # The softmax of the angular prototypical loss cancels its bias.
        assert not torch.equal(parameter, before[name]) or name == "contrastive.bias"


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"kind": "softmax"}, lambda z, y, m: softmax_loss(z, y, m.prototypes, m.bias)),
        (
            {"kind": "am_softmax", "margin": 0.3, "scale": 20},
            lambda z, y, m: am_softmax_loss(z, y, m.prototypes, margin=0.15, scale=20),
        ),
        (
            {"subcentres": 3, "inter_topk": 2, "inter_margin": 0.1, "margin": 0.4, "scale": 25},
            lambda z, y, m: aam_softmax_loss(
                z, y, m.prototypes, margin=0.2, scale=25, inter_topk=2, inter_margin=0.05
            ),
        ),
        (
            {"kind": "sphereface2", "margin": 0.4, "scale": 20, "balance": 0.6, "sharpness": 2},
            lambda z, y, m: sphereface2_loss(
                z, y, m.prototypes, m.bias, margin=0.2, scale=20, balance=0.6, sharpness=2
            ),
        ),
    ],
)
def test_a_classifier_is_its_function_with_the_margin_that_is_in_force(
    settings: dict[str, object], same: Callable[..., torch.Tensor]
) -> None:
    z, y = problem()
    config = ObjectiveConfig.model_validate({"classification": settings, "contrastive": None})
    objective = Objective(config, speakers=4, dimension=8)
    head = objective.classification
    assert torch.equal(objective(z, y, margin_ramp=0.5)["classification"], same(z, y, head))
    assert head.prototypes.shape == ((4, 3, 8) if "subcentres" in settings else (4, 8))


def test_a_contrast_is_its_function() -> None:
    z, y = problem()

    def contrast(settings: dict[str, object]) -> torch.Tensor:
        content = {"contrastive": settings, "classification": None}
        return Objective(ObjectiveConfig.model_validate(content), speakers=4, dimension=8)(z, y)[
            "contrastive"
        ]

    assert torch.equal(
        contrast({"kind": "nt_xent_am", "temperature": 0.2, "margin": 0.3}),
        nt_xent_am_loss(z, y, temperature=0.2, margin=0.3),
    )
    assert torch.equal(
        contrast({"kind": "angular_prototypical", "scale": 7, "bias": -2}),
        angular_prototypical_loss(z, y, torch.tensor(7.0), torch.tensor(-2.0)),
    )
    assert torch.equal(
        contrast({"attention": None, "margin": 0.3, "margin_form": "arcface", "block_size": 5}),
        supervised_contrastive_loss(z, y, margin=0.3, margin_form="arcface", block_size=5),
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "equal"},
        {"kind": "fixed", "weights": [3, 1]},
        {"kind": "uncertainty"},
        {"normaliser": "l2", "at": "parameters"},
        {"kind": "upgrad"},
        {"kind": "cagrad", "c": 0.3},
        {"kind": "pcgrad", "at": "parameters"},
        {"kind": "imtl_g"},
    ],
)
def test_every_balancer_is_to_be_had(settings: dict[str, object]) -> None:
    z, y = problem()
    encoder = torch.nn.Linear(8, 8)
    objective = Objective(ObjectiveConfig.model_validate({"balancing": settings}), speakers=4, dimension=8)
    embeddings = encoder(z)
    losses = objective(embeddings, y)
    balance = backward_balanced(losses.values(), embeddings, objective.balancer(encoder))
    assert encoder.weight.grad.abs().sum() > 0
    # Where the gradients were looked at tells from their norms.
    at = encoder.weight if settings.get("at") == "parameters" else embeddings
    embeddings = encoder(z)
    loss = objective(embeddings, y)["classification"]
    where = [encoder.weight, encoder.bias] if at is encoder.weight else [embeddings]
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, where)])
    assert balance.gradient_norms[0] == pytest.approx(float(gradient.norm()), rel=1e-4)
    learns = settings.get("kind") == "uncertainty"
    assert ("weighing.log_variances" in dict(objective.named_parameters())) == learns


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"kind": "equal"}, equal()),
        ({"kind": "fixed"}, fixed((1, 1))),
        ({"kind": "fixed", "weights": [3, 1]}, fixed((3, 1))),
        ({}, mgda(floor=0.4)),
        ({"normaliser": "loss+", "floor": 0.1}, mgda("loss+", floor=0.1)),
        ({"floor": 0}, mgda()),
        ({"kind": "upgrad"}, upgrad()),
        ({"kind": "cagrad"}, cagrad(0.5)),
        ({"kind": "cagrad", "c": 0.9}, cagrad(0.9)),
        ({"kind": "pcgrad"}, pcgrad()),
        ({"kind": "imtl_g"}, imtl_g()),
    ],
)
def test_a_balancer_is_its_function(settings: dict[str, object], same: Balancer) -> None:
    config = ObjectiveConfig.model_validate({"balancing": settings})
    weighing = Objective(config, speakers=4, dimension=8).weighing
    losses = torch.tensor([3.0, 0.5], dtype=torch.float64)
    for cross in (-1.5, 0.7):  # in conflict, and not
        products = torch.tensor([[9.0, cross], [cross, 1.0]], dtype=torch.float64)
        torch.testing.assert_close(weighing(losses, products), same(losses, products))


def test_attention_is_detached_unless_the_recipe_says_otherwise() -> None:
    z, y = problem()
    for detach in (True, False):
        content = {"contrastive": {"attention": {"detach": detach}}}
        objective = Objective(ObjectiveConfig.model_validate(content), speakers=4, dimension=8)
        loss = objective(z.clone().requires_grad_(), y)["contrastive"]
        (slope,) = torch.autograd.grad(loss, objective.classification.prototypes, allow_unused=True)
        assert (slope is None) == detach


def test_what_a_classifier_starts_from() -> None:
    torch.manual_seed(0)
    heads = {
        kind: ObjectiveConfig.model_validate({"classification": {"kind": kind} | more}).classification.build(
            50, 40
        )
        for kind, more in {
            "softmax": {},
            "am_softmax": {"subcentres": 2},
            "aam_softmax": {"subcentres": 3},
            "sphereface2": {"subcentres": 2, "margin": 0.15, "margin_form": "angular", "scale": 20},
        }.items()
    }
    shapes = {kind: tuple(head.prototypes.shape) for kind, head in heads.items()}
    assert shapes == {
        "softmax": (50, 40),
        "am_softmax": (50, 2, 40),
        "aam_softmax": (50, 3, 40),
        "sphereface2": (50, 2, 40),
    }
    for head in heads.values():
        rows = head.prototypes.detach().view(-1, 40)
        assert float(rows.std()) == pytest.approx((2 / (len(rows) + 40)) ** 0.5, rel=0.1)
    bias = sphereface2_initial_bias(50, margin=0.15, margin_form="angular", scale=20)
    assert float(heads["sphereface2"].bias.detach()) == pytest.approx(bias)
    z, y = torch.randn(6, 40), torch.arange(6)
    expected = sphereface2_loss(
        z,
        y,
        heads["sphereface2"].prototypes,
        heads["sphereface2"].bias,
        margin=0.15,
        margin_form="angular",
        scale=20,
    )
    assert torch.equal(heads["sphereface2"](z, y), expected)


def test_every_setting_of_the_contrast_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def spy(embeddings: torch.Tensor, labels: torch.Tensor, **settings: object) -> torch.Tensor:
        seen.update(settings)
        return embeddings.sum()

    monkeypatch.setattr(contrasts, "supervised_contrastive_loss", spy)
    settings = {"temperature": 0.3, "margin": 0.4, "margin_form": "positive", "block_size": 7}
    attention = {"form": "logit", "pairs": "all"}
    content = {"contrastive": settings | {"attention": attention}}
    Objective(ObjectiveConfig.model_validate(content), speakers=4, dimension=8)(*problem())
    assert isinstance(seen.pop("attention"), torch.Tensor)
    assert seen == settings | {"attention_form": "logit", "pairs": "all"}
    defaults = ObjectiveConfig().attention
    assert defaults is not None
    assert defaults.model_dump() == {
        "scale": 10.0,
        "normalise": "mean",
        "form": "log_weight",
        "pairs": "negatives",
        "detach": True,
    }


def test_more_rivals_than_wrong_classes_are_told_by_the_key_of_the_recipe() -> None:
    config = ObjectiveConfig.model_validate({"classification": {"inter_topk": 4}})
    with pytest.raises(
        RecipeError, match=r"objective.classification.inter_topk: each of 4 speakers has 3 wrong"
    ):
        Objective(config, speakers=4, dimension=8)


def test_shuffled_labels_teach_nothing_about_held_out_samples() -> None:
    # Speakers that differ; labels that do not know it: what is learned of them must not carry over.
    torch.manual_seed(0)
    voices = torch.randn(8, 16).repeat_interleave(40, dim=0) + 0.5 * torch.randn(320, 16)
    shuffled = (torch.arange(320) // 40)[torch.randperm(320)]
    encoder = torch.nn.Sequential(torch.nn.Linear(16, 256), torch.nn.ReLU(), torch.nn.Linear(256, 32))
    objective = Objective(ObjectiveConfig(), speakers=8, dimension=32)
    optimizer = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=0.003)
    train, held_out = torch.arange(320) % 2 == 0, torch.arange(320) % 2 == 1
    for _ in range(400):
        optimizer.zero_grad()
        z = encoder(voices[train])
        backward_balanced(objective(z, shuffled[train]).values(), z, objective.balancer(encoder))
        optimizer.step()

    def error_rate(which: torch.Tensor) -> float:
        with torch.no_grad():
            unit = torch.nn.functional.normalize(encoder(voices[which]), dim=1)
        first, second = torch.triu_indices(len(unit), len(unit), offset=1)
        scores = (unit[first] * unit[second]).sum(dim=1).double().numpy()
        target = (shuffled[which][first] == shuffled[which][second]).numpy()
        return eer(scores[target], scores[~target]).rate

    assert error_rate(train) < 0.15  # it has learned them by heart
    assert error_rate(held_out) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "settings",
    [
        {"classification": None, "contrastive": None},
        {"classification": None},
        {"classification": None, "contrastive": {"attention": None}, "contrast_from": 0.5},
        {"classification": {"kind": "sphereface2", "margin": 1.2}},
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
