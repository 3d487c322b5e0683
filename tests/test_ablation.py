"""Variants of a recipe, and the statistics of their table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voxangle.ablation import (
    Base,
    OverSeeds,
    Variant,
    difference_over_seeds,
    differences,
    make_variants,
    mean_over_seeds,
    read_variants,
)
from voxangle.errors import RecipeError
from voxangle.metrics.intervals import Replicates
from voxangle.recipe import Recipe

CHAIN = "objective=aam,supcon,aam_supcon,+attention,full"


@pytest.fixture
def base(recipe_file: Path) -> Base:
    """The tiny recipe, whose objective is the whole one."""
    return Base(recipe_file)


def objective(base: Base, variant: Variant) -> dict[str, object]:
    """The objective of a variant's recipe, as plain data."""
    plain: dict[str, object] = base.with_variant(variant, 1).plain()["objective"]
    return plain


def test_the_usual_chain_adds_one_thing_after_another(base: Base) -> None:
    variants = make_variants([CHAIN], read_variants(), base)
    assert [one.name for one in variants] == ["aam", "supcon", "aam_supcon", "+attention", "full"]
    aam, supcon, both, attention, full = (objective(base, one) for one in variants)
    own = base.recipe.plain()["objective"]
    assert aam == {**own, "contrastive": None}
    assert supcon["classification"] is None
    assert supcon["contrast_from"] is None
    plain_contrast = {**own["contrastive"], "margin": 0.0, "attention": None}
    assert supcon["contrastive"] == both["contrastive"] == plain_contrast
    assert both["balancing"] == attention["balancing"] == {"kind": "equal"}
    assert attention["contrastive"] == {**own["contrastive"], "margin": 0.0}
    assert full == own


def test_what_comes_back_is_the_recipes_own(recipe_file: Path) -> None:
    base = Base(
        recipe_file,
        [
            "objective.contrastive.margin=0.3",
            "objective.contrastive.attention.scale=7",
            "objective.balancing.floor=0.1",
        ],
    )
    variants = make_variants(["objective=aam_supcon,+attention,+margin,+mgda,full"], read_variants(), base)
    _, attention, margin, mgda, full = (objective(base, one) for one in variants)
    assert attention["contrastive"]["attention"]["scale"] == 7  # type: ignore[index]
    assert attention["contrastive"]["margin"] == 0  # type: ignore[index]
    assert margin["contrastive"]["margin"] == 0.3  # type: ignore[index]
    assert margin["balancing"] == {"kind": "equal"}
    assert mgda == full == base.recipe.plain()["objective"]


def test_a_recipe_of_aam_softmax_alone_has_the_whole_objective_by_its_defaults(recipe_file: Path) -> None:
    base = Base(recipe_file, ["objective.contrastive=null", "objective.balancing={kind: equal}"])
    (full,) = make_variants(["objective=full"], read_variants(), base)
    whole = Base(recipe_file).recipe.plain()["objective"]
    assert objective(base, full)["contrastive"] == whole["contrastive"]
    assert objective(base, full)["balancing"] == whole["balancing"]


def test_every_variant_that_voxangle_names_is_a_recipe(base: Base) -> None:
    names = read_variants()
    for axis, known in names.items():
        for name in known:
            (variant,) = make_variants([f"{axis}={name}"], names, base)
            assert base.with_variant(variant, 1).seed == 1, (axis, name)


def test_axes_multiply_and_the_variant_before_is_the_one_on_the_first_axis(base: Base) -> None:
    variants = make_variants(["objective=aam,full", "lr=0.1,0.2"], read_variants(), base)
    assert [(one.name, one.previous) for one in variants] == [
        ("aam, lr=0.1", None),
        ("aam, lr=0.2", None),
        ("full, lr=0.1", "aam, lr=0.1"),
        ("full, lr=0.2", "aam, lr=0.2"),
    ]
    recipe = base.with_variant(variants[3], 9)
    assert recipe.optimizer.lr == 0.2
    assert recipe.objective.contrastive is not None
    assert (recipe.seed, recipe.name) == (9, "full-lr-0.2 seed 9")


def test_an_axis_may_be_any_entry_of_a_recipe(base: Base) -> None:
    variants = make_variants(
        ["objective.balancing={kind: mgda, floor: 0.2},{kind: equal}", "optimizer.clip=null,1"],
        read_variants(),
        base,
    )
    recipes = [base.with_variant(one, 1) for one in variants]
    assert [recipe.objective.balancing.kind for recipe in recipes] == ["mgda", "mgda", "equal", "equal"]
    assert [recipe.optimizer.clip for recipe in recipes] == [None, 1, None, 1]
    assert len({one.slug for one in variants}) == 4


def test_variants_of_ones_own_come_before_those_of_voxangle(base: Base, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("size: {small: {encoder.channels: 8}}\nobjective: {aam: {objective.contrastive: null}}\n")
    names = read_variants(file)
    (small,) = make_variants(["size=small"], names, base)
    assert base.with_variant(small, 1).encoder.channels == 8  # type: ignore[attr-defined]
    assert list(names["objective"]["aam"]) == ["objective.contrastive"]
    assert "full" in names["objective"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["objektive=aam"], "did you mean 'objective'"),
        (["objective=amm"], "did you mean 'aam'"),
        (["objective"], "expected AXIS=VALUE,VALUE"),
        (["objective=aam,,full"], "expected AXIS=VALUE,VALUE"),
        (["objective=+attention"], "is the first"),
        (["objective=aam,+attention"], "'aam' before it has objective.contrastive: null"),
        (["objective=aam,aam"], "'aam' stands there twice"),
        (["lr=1", "optimizer.lr=2"], "an axis stands there twice"),
        (["kind=sgd"], "which one of"),
        (["rubbish=1"], "every entry of the recipe, such as optimizer.lr"),
        (["optimizer.lrr=1"], "did you mean 'lr'"),
        (["optimizer.lr=slow"], "variant 'optimizer.lr=slow'"),
        (["optimizer.lr=[1"], "not a YAML value"),
        (["optimizer.lr=0.1,0.1 "], "stands there twice"),
        (["data.split=a b,a-b"], "would have one folder"),
    ],
)
def test_a_mistake_in_an_axis_is_named(base: Base, axes: list[str], message: str) -> None:
    def recipes() -> list[Recipe]:
        return [base.with_variant(variant, 1) for variant in make_variants(axes, read_variants(), base)]

    with pytest.raises(RecipeError) as caught:
        recipes()
    assert message in str(caught.value)


@pytest.mark.parametrize("content", ["- a", "axis: 3", "axis: {name: 3}", "axis: {name: {}}", "{: ["])
def test_a_file_of_variants_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(RecipeError, match=r"mine\.yaml"):
        read_variants(file)
    with pytest.raises(RecipeError, match="no such file"):
        read_variants(tmp_path / "none.yaml")


def test_differences_name_the_entry_and_a_section_of_another_kind_as_one() -> None:
    one = {"a": {"kind": "x", "b": 1}, "c": 2, "d": {"e": 1}}
    other = {"a": {"kind": "y", "f": 3}, "c": 2, "d": {"e": 4}}
    assert differences(one, other) == {"a": ({"kind": "x", "b": 1}, {"kind": "y", "f": 3}), "d.e": (1, 4)}
    assert differences(one, one) == {}


def replicates(errors: np.ndarray, weights: np.ndarray) -> Replicates:
    """Of a figure that is the mean of speakers' errors, shape (speakers,)."""
    count = len(errors)
    return Replicates(
        figures=np.array([errors.mean()]),
        draws=(weights @ errors / count)[:, None],
        speakers=count,
        noisy=np.zeros((2, 0, 1)),  # no trial is of a pair of speakers
        left_out=((errors.sum() - errors) / (count - 1))[:, None],
    )


def certain(figure: float) -> Replicates:
    """Of a figure that no draw of speakers changes."""
    return replicates(np.full(10, figure), np.ones((200, 10)))


# Two-sided 95 % points of Student's distribution (any table).
@pytest.mark.parametrize(("seeds", "reach"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262)])
def test_where_speakers_change_nothing_the_interval_is_students(seeds: int, reach: float) -> None:
    figures = np.random.default_rng(seeds).normal(0.3, 0.001, seeds)
    mean = mean_over_seeds({i: certain(float(x)) for i, x in enumerate(figures)})
    half = reach * figures.std(ddof=1) / np.sqrt(seeds)
    assert mean.values[0] == pytest.approx(figures.mean())
    assert mean.spreads[0] == pytest.approx(figures.std(ddof=1))
    assert mean.intervals[0].low == pytest.approx(figures.mean() - half, rel=0, abs=0.02 * half)
    assert mean.intervals[0].high == pytest.approx(figures.mean() + half, rel=0, abs=0.02 * half)


def test_where_seeds_change_nothing_the_interval_is_that_of_the_speakers() -> None:
    random = np.random.default_rng(0)
    weights = random.multinomial(50, [1 / 50] * 50, size=1000)
    one = replicates(random.exponential(0.1, 50), weights)
    (alone,) = one.intervals(0.95)
    (together,) = mean_over_seeds({1: one, 2: one, 3: one}).intervals
    assert together.low == pytest.approx(alone.low, rel=0.01)
    assert together.high == pytest.approx(alone.high, rel=0.01)
    assert mean_over_seeds({7: one}).intervals == (alone,)


def test_a_difference_is_over_the_seeds_that_both_ran_with() -> None:
    first = {1: certain(0.5), 2: certain(0.4), 3: certain(0.1)}
    second = {2: certain(0.3), 3: certain(0.1), 4: certain(0.9)}
    difference = difference_over_seeds(first, second)
    assert difference is not None
    assert difference.seeds == (2, 3)
    assert difference.values[0] == pytest.approx(0.05)
    assert difference.spreads[0] == pytest.approx(np.std([0.1, 0.0], ddof=1))
    assert difference_over_seeds(first, {5: certain(0.1)}) is None


def test_systems_that_are_alike_have_no_difference() -> None:
    same = {1: certain(0.5), 2: certain(0.4)}
    difference = difference_over_seeds(same, same)
    assert difference is not None
    assert difference.intervals[0].low == difference.intervals[0].high == 0
    assert difference.p_values == (1.0,)


def test_the_p_value_is_below_a_twentieth_where_the_interval_leaves_out_zero() -> None:
    random = np.random.default_rng(3)
    told = []
    for shift in np.linspace(0.0, 0.12, 25):
        difference = drawn_difference(random, seeds=4, shift=float(shift))
        (ends,) = difference.intervals
        told.append(ends.low > 0 or ends.high < 0)
        assert told[-1] == (difference.p_values[0] < 0.05)
    assert any(told)
    assert not all(told)


def drawn_difference(
    random: np.random.Generator, *, seeds: int, shift: float = 0.0, of_seed: float = 0.02, speakers: int = 40
) -> OverSeeds:
    """Two variants on speakers drawn from a population: what a variant does to each, what a seed does to all."""
    weights = random.multinomial(speakers, [1 / speakers] * speakers, size=200)
    hard = random.normal(0.2, 0.1, speakers)

    def variant(shift: float) -> dict[int, Replicates]:
        own = hard + shift + random.normal(0, 0.05, speakers)
        return {
            seed: replicates(own + random.normal(0, of_seed) + random.normal(0, 0.03, speakers), weights)
            for seed in range(seeds)
        }

    difference = difference_over_seeds(variant(shift), variant(0.0))
    assert difference is not None
    return difference


def test_an_effect_that_is_none_is_rarely_called_one() -> None:
    random = np.random.default_rng(11)

    def called(seeds: int, runs: int) -> float:
        p_values = [drawn_difference(random, seeds=seeds).p_values[0] for _ in range(runs)]
        return float(np.mean(np.array(p_values) < 0.05))

    # 0.05 of 100 is 0.05 +- 0.04.
    assert called(3, runs=100) <= 0.09
    # One seed says nothing of the scatter over seeds: it would be believed too often, hence no verdict by it.
    assert called(1, runs=300) > 0.15
