"""A corpus with seeded defects, from the files to the table and the page."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from voxangle.cli import app
from voxangle.corpora import corpus_reader
from voxangle.corpora.prepared import prepare_split
from voxangle.data import Manifest
from voxangle.data.prepare import Prepared
from voxangle.encoders import ECAPATDNNConfig, Embedder, ModelCard, build_encoder
from voxangle.errors import CorpusError
from voxangle.features import Filterbank
from voxangle.quality import KINDS, Limits, Survey, check_quality
from voxangle.quality import survey as measured
from voxangle.reporting.quality_page import quality_rows, spread_table, statistics_tables, write_quality_page
from voxangle.training.checkpoint import Checkpoint

RUNNER = CliRunner()


@pytest.fixture
def spoilt(tmp_path: Path, voices: Path) -> Path:
    """The made-up voices, with one recording of each defect."""
    root = tmp_path / "spoilt"
    shutil.copytree(voices, root)

    def spoil(key: str) -> tuple[Path, np.ndarray]:
        return root / key, soundfile.read(root / key, dtype="float32")[0]

    shutil.copy(root / "s0" / "u0.wav", root / "s1" / "copy.wav")
    path, wave = spoil("s2/u0.wav")
    soundfile.write(path, np.clip(3 * wave, -0.3, 0.3), 16_000)
    path, wave = spoil("s3/u1.wav")
    soundfile.write(path, np.concatenate([np.zeros(16_000 * 15, np.float32), wave]), 16_000)
    path, wave = spoil("s4/u2.wav")
    soundfile.write(path, wave + 0.1, 16_000)
    path, wave = spoil("s5/u3.wav")
    soundfile.write(path, wave * 0.005, 16_000)
    soundfile.write(root / "s5" / "short.wav", wave[:4_000], 16_000)
    (root / "s5" / "broken.wav").write_bytes(b"RIFF, and no more")
    return root


@pytest.fixture
def prepared(spoilt: Path) -> Prepared:
    return prepare_split(corpus_reader("folder").read(spoilt), "all")


def found(prepared: Prepared, kind: str) -> list[str]:
    quality = check_quality(prepared)
    rows = quality.worst(next(one for one in KINDS if one.name == kind))
    return [str(quality.table["utterance"][int(row)]) for row in rows]


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("clipped", "s2/u0"),
        ("mostly_silence", "s3/u1"),
        ("offset_far", "s4/u2"),
        ("too_quiet", "s5/u3"),
        ("too_short", "s5/short"),
    ],
)
def test_each_defect_is_found_where_it_is_and_nowhere_else(prepared: Prepared, kind: str, file: str) -> None:
    assert [key.removesuffix(".wav") for key in found(prepared, kind)] == [file]


def test_a_copy_under_another_speaker_is_named_on_both_sides(prepared: Prepared) -> None:
    table = check_quality(prepared).table
    keys, same_as = table["utterance"].to_pylist(), table["same_as"].to_pylist()
    pairs = {(key, other) for key, other in zip(keys, same_as, strict=True) if other}
    assert len(pairs) == 2
    assert {(other, key) for key, other in pairs} == pairs


def test_what_cannot_be_read_is_counted_and_stops_nothing(prepared: Prepared) -> None:
    rows = quality_rows(check_quality(prepared))
    assert ("cannot be read", "1") in [(what, count) for what, count, _ in rows]


def test_the_limits_are_the_users(prepared: Prepared) -> None:
    quality = check_quality(prepared, limits=Limits(longest=1.0, shortest=0.0))
    assert quality.table["too_long"].to_pylist().count(True) == len(quality.table) - 1
    assert not any(quality.table["too_short"].to_pylist())


def test_limits_are_read_by_name() -> None:
    assert Limits.read([]) == Limits()
    assert Limits.read(["silence=0.9", "longest=30", "silence=0.95"]) == Limits(silence=0.95, longest=30)
    with pytest.raises(CorpusError, match=r"no limit 'silense'; did you mean 'silence'\?"):
        Limits.read(["silense=0.9"])
    with pytest.raises(CorpusError, match=r"--limit longest=NUMBER"):
        Limits.read(["longest=long"])
    with pytest.raises(CorpusError, match=r"--limit longest=NUMBER"):
        Limits.read(["longest"])


def test_every_limit_has_its_kind() -> None:
    assert sorted(kind.limit for kind in KINDS) == sorted(vars(Limits()))


def with_channels(prepared: Prepared, channels: int) -> Prepared:
    table = prepared.manifest.table
    names = pa.array([f"c{row % channels:02d}" for row in range(len(table))])
    place = table.schema.get_field_index("channel")
    changed = Manifest(table.set_column(place, "channel", names), prepared.manifest.root)
    return replace(prepared, manifest=changed)


def test_what_is_beyond_the_first_groups_is_summed_up(prepared: Prepared) -> None:
    (channel,) = statistics_tables(check_quality(with_channels(prepared, 20)), most=5)
    assert channel.caption == "By channel"
    assert [row[0] for row in channel.rows[-2:]] == ["c04", "15 others"]
    assert sum(int(row[1]) for row in channel.rows) == len(prepared.samples)
    assert sum(float(row[3]) for row in channel.rows) == pytest.approx(
        prepared.samples.sum() / 5.76e7, abs=0.03
    )
    assert channel.rows[-1][2] == "5"  # all but the first


def test_of_what_the_corpus_says_nothing_there_is_no_table(prepared: Prepared) -> None:
    assert statistics_tables(check_quality(prepared)) == []


def test_the_spread_tells_quantiles_that_were_met(prepared: Prepared) -> None:
    rows = {name: values for name, *values in spread_table(check_quality(prepared)).rows}
    seconds = prepared.samples / 16_000
    assert rows["least"][0] == f"{seconds.min():.1f}"
    assert rows["half"][0] == f"{np.sort(seconds)[(len(seconds) - 1) // 2]:.1f}"
    assert rows["most"][1] == str(np.bincount(prepared.manifest.labels()).max())


def same(one: Survey, other: Survey) -> bool:
    return all(np.array_equal(one.measures[name], other.measures[name]) for name in one.measures) and all(
        np.array_equal(getattr(one.prints, name), getattr(other.prints, name))
        for name in ("digests", "first", "length", "vectors")
    )


def test_measures_are_kept_and_those_of_other_audio_removed(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = prepared.folder / "measures-0000000000000000-00000.parquet"
    stale.write_bytes(b"of other audio")
    first = measured(prepared)
    assert not stale.exists()
    monkeypatch.setattr(Prepared, "read", lambda *_: pytest.fail("what is known is not measured again"))
    again = measured(prepared)
    assert same(again, first)


def test_a_broken_file_of_the_cache_is_measured_again(prepared: Prepared) -> None:
    first = measured(prepared)
    next(prepared.folder.glob("measures-*.parquet")).write_bytes(b"broken")
    assert same(measured(prepared), first)


def test_swapped_labels_are_found_by_the_embeddings(prepared: Prepared) -> None:
    speakers = prepared.manifest.labels()
    random = np.random.default_rng(0)
    embeddings = random.standard_normal((6, 8))[speakers] + 0.1 * random.standard_normal((len(speakers), 8))
    embeddings[1] = embeddings[-1]
    embeddings[2] = np.nan
    quality = check_quality(prepared, embeddings=embeddings.astype(np.float32))
    assert quality.worst(KINDS[0]).tolist() == [1]
    assert quality.table["nearest_speaker"][1].as_py() == quality.table["speaker"][len(speakers) - 1].as_py()
    assert quality.table["nearest_speaker"][2].as_py() == ""


def test_the_page_plays_the_worst_and_asks_for_nothing_else(prepared: Prepared, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_quality_page(page, "a <corpus>", check_quality(prepared), facts={"split": "all"}, notes=["A note."])
    text = page.read_text(encoding="utf-8")
    assert "media-src data:" in text
    assert "a &lt;corpus&gt;" in text
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert sources
    assert all(source.startswith("data:audio/mpeg;base64,") for source in sources)
    assert "http:" not in text
    assert "https:" not in text


def test_the_command_reports_a_corpus_without_published_counts(spoilt: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["corpora", "check", "folder", "--root", str(spoilt), "--audio", "--out", str(out)]
    done = RUNNER.invoke(app, command)
    assert done.exit_code == 1, done.output  # a broken file: not whole
    assert "the same recording twice" in done.output
    assert (out / "all.html").is_file()
    table = pq.read_table(out / "all.parquet")
    assert table.num_rows == 26
    assert json.loads(table.schema.metadata[b"voxangle.limits"]) == asdict(Limits())
    done = RUNNER.invoke(app, [*command, "--csv", "--limit", "silence=0.99"])
    assert re.search(r"mostly silence +0", done.output)
    assert "silence=0.99, by default 0.85" in (out / "all.html").read_text(encoding="utf-8")
    assert pyarrow.csv.read_csv(out / "all.csv").num_rows == 26


def test_the_command_needs_no_audio_for_a_count(voices: Path) -> None:
    done = RUNNER.invoke(app, ["corpora", "check", "folder", "--root", str(voices)])
    assert done.exit_code == 0, done.output
    assert "6 speakers, 24 utterances" in done.output


def run_of(folder: Path, speakers: list[str]) -> Path:
    """A run that has learnt some speakers: an untrained tiny model, and prototypes."""
    torch.manual_seed(0)
    config = ECAPATDNNConfig(channels=16, aggregation=24, squeeze=8, attention=8, dimension=12)
    card = ModelCard(name="untrained", encoder=config)
    Embedder(Filterbank(card.filterbank), build_encoder(config).eval(), card).save(folder / "model")
    prototypes = {"classification.prototypes": torch.randn(len(speakers), 12)}
    Checkpoint(1, {}, speakers, {}, prototypes, {}, {}).write(folder)
    return folder


def test_a_model_says_which_labels_it_doubts(voices: Path, tmp_path: Path) -> None:
    run, out = run_of(tmp_path / "run", ["s0", "s1", "s2", "s3"]), tmp_path / "out"
    command = ["corpora", "check", "folder", "--root", str(voices), "--audio", "--model", str(run)]
    done = RUNNER.invoke(app, [*command, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "sounds like another speaker" in done.output
    table = pq.read_table(out / "all.parquet")
    known = np.isfinite(table["own_class_posterior"].to_numpy())
    assert set(table["speaker"].filter(pa.array(known)).to_pylist()) == {"s0", "s1", "s2", "s3"}
    assert known.sum() == 16
    assert np.isfinite(table["doubt"].to_numpy()).all()


def test_a_checkpoint_of_another_version_costs_the_posterior_alone(voices: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", ["s0"])
    (run / "checkpoint.pt").write_bytes(b"of another version")
    command = ["corpora", "check", "folder", "--root", str(voices), "--audio", "--model", str(run)]
    done = RUNNER.invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "Without the posterior of the own class" in done.output


def test_questions_about_audio_need_the_audio(voices: Path) -> None:
    done = RUNNER.invoke(app, ["corpora", "check", "folder", "--root", str(voices), "--limit", "silence=1"])
    assert done.exit_code != 0
    assert "--audio" in str(done.exception)
