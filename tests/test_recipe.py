"""A recipe is the whole truth of a run, and says so when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxangle.encoders import ReDimNetConfig
from voxangle.errors import RecipeError
from voxangle.features import FILTERBANKS, FilterbankConfig, ReDimNetFilterbankConfig
from voxangle.recipe import Recipe, as_yaml

MINIMAL = """
data: {corpus: folder, root: voices}
encoder: {architecture: ecapa_tdnn, channels: 64}
schedule: {steps: 10}
"""


def write(tmp_path: Path, text: str = MINIMAL) -> Path:
    path = tmp_path / "little.yaml"
    path.write_text(text)
    return path


def test_defaults_are_filled_in_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    recipe = Recipe.read(write(tmp_path))
    assert recipe.name == "little"
    assert recipe.data.root == tmp_path / "voices"
    assert recipe.plain()["optimizer"]["lr"] == recipe.optimizer.lr


def test_the_effective_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = Recipe.read(write(tmp_path), ["optimizer.lr=0.1", "objective.contrastive=null"])
    recipe.write(tmp_path / "run" / "recipe.yaml")
    assert Recipe.read(tmp_path / "run" / "recipe.yaml") == recipe


def test_overrides_win_and_reach_any_depth(tmp_path: Path) -> None:
    recipe = Recipe.read(
        write(tmp_path),
        [
            "optimizer.lr=1e-4",
            "objective.balancing.floor=0.1",
            "objective.contrastive.attention.scale=3",
            "augment.kinds.music=0",
        ],
    )
    assert recipe.optimizer.lr == 1e-4
    assert recipe.objective.contrastive.attention.scale == 3
    assert recipe.objective.balancing.floor == 0.1
    assert recipe.augment.kinds.music == 0
    assert Recipe.read(write(tmp_path), ["objective.contrastive=null"]).objective.contrastive is None


def test_a_path_on_the_command_line_is_relative_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Recipe.read(path, ["data.root=here"]).data.root == tmp_path / "elsewhere" / "here"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimiser: {lr: 1}", "unknown key 'optimiser'; did you mean 'optimizer'"),
        ("optimizer: {learning_rate: 1, lrr: 2}", "unknown key 'optimizer.lrr'; did you mean 'lr'"),
        ("objective: {contrastive: {temprature: 1}}", "did you mean 'temperature'"),
        ("objective: {balancing: {kind: mgda, normalizer: l2}}", "did you mean 'normaliser'"),
        (
            "objective: {classification: {kind: softmax, margin: 0.2}}",
            "'objective.classification.margin'; known: kind; the kind is softmax: --set ",
        ),
        ("objective: {balancing: {kind: equal, floor: 0.4}}", "known: kind; the kind is equal"),
        ("objective: {balancing: {kind: average}}", "objective.balancing"),
        ("objective: {contrastive: {attention: {form: logits}}}", "'logit'"),
        ("optimizer: {lr: -1}", "'optimizer.lr'"),
        ("optimizer: {lr: fast}", "fast"),
        ("batch: {speakers: 1}", "'batch.speakers'"),
        ("features: {bins: 40}", "encoder.bins (80) and features.bins (40) differ: --set features.bins=80"),
        ("features: {definition: redimnet}", "encoder.bins (80) and features.bins (72) differ"),
        ("features: {definition: speachbrain}", "'features.definition': unknown 'speachbrain'; did you mean"),
        ("features: {definition: null}", "'features.definition': unknown 'None'; known: kaldi, redimnet, "),
        ("features: {windw: hamming}", "unknown key 'features.windw'; did you mean 'window'?"),
        ("features: {definition: speechbrain, hi_hz: 8}", "'features.hi_hz'; did you mean 'high_hz'?"),
        (
            "features: {definition: speechbrain, window: hamming}",
            "the definition is speechbrain: --set features='{definition: speechbrain}' leaves out",
        ),
        ("features: {definition: kaldi, kaldi: 1}", "unknown key 'features.kaldi'; known: bins, "),
        ("features: {definition: redimnet, shift: 0}", "'features.shift'"),
        ("features: 80", "'features': expected a section"),
        ("features: {low_hz: 4000, high_hz: 3000}", "'features': low_hz (4000) must be below"),
        ("schedule: null", "'schedule': expected a section"),
        ("objective:", "'objective': expected a section"),
        ("batch: {recordings: 1}\naugment: {views: 1}", "no anchor has a positive"),
        ("name: ../../elsewhere", "'name'"),
        ("seed: 99999999999999999999", "'seed'"),
    ],
)
def test_a_mistake_is_named_with_its_cure(tmp_path: Path, change: str, message: str) -> None:
    path = write(tmp_path, MINIMAL + change + "\n")
    with pytest.raises(RecipeError) as caught:
        Recipe.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unknown_key_of_the_encoder_and_an_unknown_encoder(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'channels'"):
        Recipe.read(write(tmp_path, MINIMAL.replace("channels", "chanels")))
    with pytest.raises(
        RecipeError, match=r"'encoder.architecture': unknown 'ecapa'; did you mean 'ecapa_tdnn'"
    ):
        Recipe.read(write(tmp_path, MINIMAL.replace("ecapa_tdnn", "ecapa")))
    with pytest.raises(RecipeError, match=r"'encoder.architecture' is missing; known: campplus, ecapa_tdnn"):
        Recipe.read(write(tmp_path, MINIMAL.replace("architecture: ecapa_tdnn, ", "")))
    with pytest.raises(
        RecipeError, match=r"'encoder.flavour'.*the architecture is eres2netv2: --set encoder="
    ):
        Recipe.read(write(tmp_path), ["encoder.architecture=eres2netv2", "encoder.flavour=paper"])


def test_a_corpus_may_have_the_name_of_a_definition(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL.replace("corpus: folder", "corpora: {kaldi: {roott: here}}"))
    with pytest.raises(RecipeError, match=r"unknown key 'data\.corpora\.kaldi\.roott'; did you mean 'root'"):
        Recipe.read(path)


@pytest.mark.parametrize("name", FILTERBANKS)
def test_any_definition_of_the_features_can_be_named(tmp_path: Path, name: str) -> None:
    settings = [f"features.definition={name}", "features.bins=72", "encoder.bins=72"]
    recipe = Recipe.read(write(tmp_path), settings)
    assert type(recipe.features) is FILTERBANKS[name].config
    assert Recipe.check(recipe.plain(), "again") == recipe


def test_kaldis_features_are_the_default_and_redimnet_s_fit_its_encoder(tmp_path: Path) -> None:
    assert Recipe.read(write(tmp_path)).features == FilterbankConfig()
    redimnet = MINIMAL.replace("architecture: ecapa_tdnn, channels: 64", "architecture: redimnet")
    recipe = Recipe.read(write(tmp_path, redimnet), ["features.definition=redimnet"])
    assert recipe.features == ReDimNetFilterbankConfig()


@pytest.mark.parametrize("settings", [{"size": "b0"}, {"size": "b3"}])
def test_sections_come_back_from_yaml(tmp_path: Path, settings: dict[str, str]) -> None:
    encoder = ReDimNetConfig.model_validate(settings)
    features = ReDimNetFilterbankConfig(bins=encoder.bins)
    sections = {
        "encoder": encoder.model_dump(mode="json"),
        "features": features.model_dump(mode="json"),
    }
    *data, _, schedule = MINIMAL.splitlines(keepends=True)
    recipe = Recipe.read(write(tmp_path, "".join([*data, as_yaml(sections), schedule])))
    assert recipe.encoder == encoder
    assert recipe.features == features


@pytest.mark.parametrize("override", ["optimizer.lr", "=3", "name.x=3", "optimizer.lr=[1", "optimizr.lr=1"])
def test_an_override_that_cannot_be_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(RecipeError, match=r"optimizr|--set"):
        Recipe.read(write(tmp_path), [override])


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match=r"little\.yaml"):
        Recipe.read(write(tmp_path, text))


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        Recipe.read(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.read(tmp_path)


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[1].glob("recipes/*.yaml")), ids=lambda p: p.stem
)
def test_every_recipe_of_the_house_holds(path: Path) -> None:
    assert Recipe.read(path).name == path.stem


def test_the_demo_recipe_holds() -> None:
    import voxangle

    demo = Path(voxangle.__file__).with_name("demo.yaml")
    assert Recipe.read(demo).data.corpus == "debian-voices"
