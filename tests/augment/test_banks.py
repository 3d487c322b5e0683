from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from voxangle.augment import AugmentConfig, Augmenter, KindWeights, build_banks
from voxangle.augment.coloured_noise import coloured_noise
from voxangle.augment.mixing import DIRECT_PATH
from voxangle.errors import CorpusError

OFF = dict.fromkeys(KindWeights.model_fields, 0.0)


def tone(hertz: float, seconds: float, rate: int = 16_000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, waveform: np.ndarray, rate: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)


class Speech:
    """Recording r of 1 + r seconds by speaker ``labels[r]``, a tone of 100 (speaker + 1) Hz."""

    def __init__(self, labels: list[int]) -> None:
        self.labels = np.array(labels)
        self.samples = 16_000 * (1 + np.arange(len(labels)))
        self.manifest = SimpleNamespace(labels=lambda: self.labels)

    def read(self, row: int, first: int = 0, samples: int | None = None) -> np.ndarray:
        whole = tone(100 * (self.labels[row] + 1), 1 + row)
        assert samples is not None
        assert 0 <= first <= first + samples <= len(whole)
        return whole[first : first + samples]


def banks_of(
    cache: Path, speech: Speech | None = None, seed: int = 0, *, kinds: dict[str, float], **settings: object
):
    config = AugmentConfig(kinds=KindWeights(**{**OFF, **kinds}), **settings)
    return build_banks(config, speech or Speech([0, 0, 1, 2]), seed=seed, cache=cache)


def loudest(waveform: torch.Tensor, rate: int = 16_000) -> float:
    spectrum = torch.fft.rfft(waveform.float()).abs()
    return spectrum.argmax().item() * rate / len(waveform)


def clip(clips, number: int) -> torch.Tensor:
    first = int(clips.first[number])
    return clips.samples[first : first + int(clips.lengths[number])]


def test_with_nothing_downloaded_there_is_noise_and_babble_and_music_is_said_to_be_left_out(cache) -> None:
    banks = banks_of(cache, kinds={"noise": 1, "babble": 1, "music": 1, "clean": 1})
    assert set(banks.kinds) == {"noise", "babble", "clean"}
    assert any(note.startswith("music: left out") and "augment.music" in note for note in banks.notes)
    assert any(note.startswith("noise: 64 synthetic") for note in banks.notes)
    assert len(banks.notes) == 4


def test_simulated_rooms_are_the_rooms_where_none_are_named(cache) -> None:
    pytest.importorskip("pyroomacoustics")
    banks = banks_of(cache, kinds={"reverb": 1}, rooms=2)
    assert len(banks.kinds["reverb"].rooms) == 2
    assert banks.notes == ("reverb: 2 simulated rooms (augment.rirs is not set)",)
    assert [path.suffix for path in cache.iterdir()] == [".npy"]


def test_kinds_without_a_weight_or_without_a_view_need_no_source(cache, tmp_path) -> None:
    assert not banks_of(cache, kinds={"clean": 1}, musan=tmp_path / "none").kinds.keys() - {"clean"}
    config = AugmentConfig(views=1, musan=tmp_path / "none", rirs=tmp_path / "none")
    assert build_banks(config, Speech([0, 1]), seed=0, cache=cache).kinds == {}


def test_musan_gives_noise_and_music_and_its_speech_stays_out(cache, tmp_path) -> None:
    write(tmp_path / "noise" / "free-sound" / "a.wav", tone(1000, 0.5))
    write(tmp_path / "noise" / "sound-bible" / "b.wav", tone(1000, 6))
    write(tmp_path / "music" / "jamendo" / "c.wav", tone(2000, 5, 8000), 8000)
    write(tmp_path / "speech" / "librivox" / "d.wav", tone(500, 5))
    banks = banks_of(cache, kinds={"noise": 1, "music": 1}, musan=tmp_path)
    noise, music = banks.kinds["noise"].clips, banks.kinds["music"].clips
    assert [loudest(clip(noise, i)) for i in range(2)] == pytest.approx([1000, 1000], abs=5)
    assert loudest(clip(music, 0)) == pytest.approx(2000, abs=5)
    assert sorted(noise.lengths.tolist()) == pytest.approx([0.49 * 16_000, 5.99 * 16_000], abs=20)
    assert "2 of the 2 files" in banks.notes[0]


def test_a_music_folder_goes_before_musan_s_music(cache, tmp_path) -> None:
    write(tmp_path / "musan" / "music" / "a.wav", tone(2000, 1))
    write(tmp_path / "mine" / "deep" / "b.flac", tone(3000, 1))
    banks = banks_of(cache, kinds={"music": 1}, musan=tmp_path / "musan", music=tmp_path / "mine")
    clips = banks.kinds["music"].clips
    assert len(clips) == 1
    assert loudest(clip(clips, 0)) == pytest.approx(3000, abs=5)


def test_a_bank_is_bounded_and_takes_a_little_of_many_files(cache, tmp_path) -> None:
    for number in range(8):
        write(tmp_path / f"{number}.wav", tone(200 * (number + 1), 6))
    few = banks_of(cache, kinds={"music": 1}, music=tmp_path, bank_seconds=12).kinds["music"].clips
    assert len(few) == 3
    assert (few.lengths <= 4 * 16_000).all()
    whole = banks_of(cache, kinds={"music": 1}, music=tmp_path, bank_seconds=1000).kinds["music"].clips
    assert len(whole) == 8
    assert (whole.lengths > 5.9 * 16_000).all()
    assert {round(loudest(clip(whole, i)) / 200) for i in range(8)} == set(range(1, 9))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("seconds", [0.02, 1.0, 3.999, 4.0, 4.001, 9.0])
def test_a_clip_is_a_segment_of_its_file_or_all_of_it_where_that_is_shorter(
    cache, tmp_path, rate, seconds
) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.wav", tone(1000, seconds, rate), rate)
    banks = banks_of(cache, kinds={"music": 1}, music=tmp_path, bank_seconds=12)
    clips = banks.kinds["music"].clips
    assert "3 of the 3 files" in banks.notes[0]
    assert "skipped" not in banks.notes[0]
    seam = min(0.01, seconds / 2)
    assert (clips.lengths / 16_000).tolist() == pytest.approx([min(seconds, 4.0) - seam] * 3, abs=2e-4)


def test_segments_begin_anywhere_in_their_files(cache, tmp_path) -> None:
    for number in range(12):
        # A tone that rises by 100 Hz a second says where the segment begins.
        time = np.arange(160_000) / 16_000
        write(tmp_path / f"{number}.wav", (0.3 * np.sin(2 * np.pi * (500 + 50 * time) * time)).astype("f4"))
    clips = banks_of(cache, kinds={"music": 1}, music=tmp_path, bank_seconds=48).kinds["music"].clips
    starts = [(loudest(clip(clips, i)[:3200]) - 510) / 100 for i in range(12)]
    assert len(clips) == 12
    assert -0.1 < min(starts) < 2
    assert 4 < max(starts) < 6.1


def test_files_that_cannot_be_read_are_counted_and_skipped(cache, tmp_path) -> None:
    write(tmp_path / "good.wav", tone(1000, 2))
    write(tmp_path / "silent.wav", np.zeros(16_000, np.float32))
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    (tmp_path / "README.txt").write_text("not even a name of audio")
    banks = banks_of(cache, kinds={"music": 1}, music=tmp_path)
    assert len(banks.kinds["music"].clips) == 1
    (note,) = banks.notes
    assert "1 of the 3 files" in note
    assert "2 skipped" in note
    assert "broken.wav" in note or "silent.wav" in note


@pytest.mark.parametrize(
    ("kind", "setting", "layout"),
    [
        ("noise", "musan", r"noise/\*/\*\.wav"),
        ("music", "musan", r"music/\*/\*\.wav"),
        ("music", "music", "music"),
        ("reverb", "rirs", "RIRS_NOISES"),
    ],
)
def test_a_folder_without_recordings_is_an_error_that_names_it_and_what_it_should_hold(
    cache, tmp_path, kind, setting, layout
) -> None:
    with pytest.raises(CorpusError, match=f"no such folder.*{layout}"):
        banks_of(cache, kinds={kind: 1}, **{setting: tmp_path / "missing"})
    folder = tmp_path / "here" / kind if setting == "musan" else tmp_path / "here"
    folder.mkdir(parents=True)
    with pytest.raises(CorpusError, match=f"{folder}.*no recordings.*{layout}"):
        banks_of(cache, kinds={kind: 1}, **{setting: tmp_path / "here"})
    (folder / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match=f"none of 1 files can be read.*broken.wav.*{layout}"):
        banks_of(cache, kinds={kind: 1}, **{setting: tmp_path / "here"})


def test_rirs_noises_gives_rooms_and_not_its_noises(cache, tmp_path) -> None:
    response = np.zeros(800, np.float32)
    response[[90, 300]] = 0.8, 0.2
    for name in ("simulated_rirs/smallroom/Room001-00001.wav", "real_rirs_isotropic_noises/air_office.wav"):
        write(tmp_path / name, response)
    write(tmp_path / "real_rirs_isotropic_noises" / "RVB2014_type1_noise_1.wav", tone(100, 1))
    write(tmp_path / "pointsource_noises" / "noise-free-sound-0001.wav", tone(100, 1))
    banks = banks_of(cache, kinds={"reverb": 1}, rirs=tmp_path)
    rooms = banks.kinds["reverb"].rooms
    assert torch.nonzero(rooms > 0.1).tolist() == [
        [room, tap] for room in range(2) for tap in (DIRECT_PATH, DIRECT_PATH + 210)
    ]
    assert "2 of the 2 rooms" in banks.notes[0]
    assert len(banks_of(cache, kinds={"reverb": 1}, rirs=tmp_path, rooms=1).kinds["reverb"].rooms) == 1


def test_a_broken_room_in_the_middle_and_an_array_of_microphones_leave_the_others_as_they_are(
    cache, tmp_path
) -> None:
    response = np.zeros((800, 8), np.float32)
    response[90 + 3 * np.arange(8), np.arange(8)] = 0.8
    write(tmp_path / "a.wav", response[:, 0])
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    write(tmp_path / "c.wav", response)
    banks = banks_of(cache, kinds={"reverb": 1}, rirs=tmp_path)
    rooms = banks.kinds["reverb"].rooms
    assert torch.nonzero(rooms > 0.05).tolist() == [[0, DIRECT_PATH], [1, DIRECT_PATH]]
    (note,) = banks.notes
    assert "2 of the 3 rooms" in note
    assert "1 skipped" in note
    assert "b.wav" in note


def test_noises_alone_are_no_rooms(cache, tmp_path) -> None:
    write(tmp_path / "noise-free-sound-0001.wav", tone(100, 1))
    with pytest.raises(CorpusError, match="holds no impulse response"):
        banks_of(cache, kinds={"reverb": 1}, rirs=tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_babble_is_of_training_speakers_as_many_as_there_is_room_for(cache, seed) -> None:
    speech = Speech([0] * 20 + [1, 2, 3])
    banks = banks_of(cache, speech, seed, kinds={"babble": 1}, bank_seconds=16)
    voices = banks.kinds["babble"].voices
    assert voices.speakers.tolist() == [0, 1, 2, 3]
    assert voices.counts[1:].tolist() == [1, 1, 1]
    for speaker, first, count in zip(voices.speakers, voices.first, voices.counts, strict=True):
        for number in range(int(first), int(first + count)):
            assert loudest(clip(voices.clips, number)) == pytest.approx(100 * (speaker + 1), abs=2)


def test_one_speaker_alone_makes_no_babble(cache) -> None:
    banks = banks_of(cache, Speech([0, 0]), kinds={"babble": 1, "noise": 1})
    assert set(banks.kinds) == {"noise"}
    assert "babble: left out" in " ".join(banks.notes)
    small = banks_of(cache, kinds={"babble": 1, "noise": 1}, bank_seconds=0.5)
    assert set(small.kinds) == {"noise"}
    assert "babble: left out" in " ".join(small.notes)


def test_a_seed_names_a_bank_and_one_kind_does_not_disturb_another(cache, tmp_path) -> None:
    for number in range(8):
        write(tmp_path / f"{number}.wav", tone(200 * (number + 1), 6))

    def music(seed: int, **others: float) -> torch.Tensor:
        kinds = {"music": 1.0, **others}
        return (
            banks_of(cache, seed=seed, kinds=kinds, music=tmp_path, bank_seconds=8)
            .kinds["music"]
            .clips.samples
        )

    assert torch.equal(music(1), music(1, noise=1, babble=1))
    assert not torch.equal(music(1), music(2))


def test_coloured_noises_differ_in_colour_fill_the_band_and_close_to_a_loop() -> None:
    random = np.random.default_rng(0)
    tilts = []
    for _ in range(40):
        noise = coloured_noise(random, 32_000)
        assert noise.dtype == np.float32
        assert np.isfinite(noise).all()
        assert np.abs(noise).max() == pytest.approx(1)
        assert abs(noise[0] - noise[-1]) <= np.abs(np.diff(noise)).max()
        energy = np.abs(np.fft.rfft(noise)) ** 2
        bands = [energy[2000 * octave : 4000 * octave].mean() for octave in (1, 2, 4)]
        tilts.append(10 * np.log10(bands[0] / bands[2]) / 2)
    # Decibels an octave: 0 is white, 3 pink, 6 brown; resonances widen the range.
    assert min(tilts) < 1
    assert 2 < np.median(tilts) < 4.5
    assert max(tilts) > 5


@pytest.mark.corpus
def test_real_crops_in_every_kind_of_view(cache, tmp_path, shared_corpora) -> None:
    from voxangle.audio import load

    files = sorted(shared_corpora.rglob("librispeech/**/*.opus"))[:4]
    waves = [load(file, seconds=2.5) for file in files]
    speech = SimpleNamespace(
        manifest=SimpleNamespace(labels=lambda: np.arange(4)),
        samples=np.array([len(wave) for wave in waves]),
        read=lambda row, first=0, samples=None: waves[row][first : first + samples],
    )
    write(tmp_path / "music.wav", tone(440, 5))
    response = np.exp(-np.arange(4000) / 500) * np.random.default_rng(0).standard_normal(4000)
    write(tmp_path / "rooms" / "room.wav", 0.1 * response)
    config = AugmentConfig(views=9, music=tmp_path, rirs=tmp_path / "rooms")
    banks = build_banks(config, speech, seed=0, cache=cache)
    crops = torch.from_numpy(np.stack(waves)[:, :32_000])
    views = Augmenter(config, banks)(crops, torch.Generator().manual_seed(0), torch.arange(4))
    assert set(banks.kinds) == {"reverb", "noise", "babble", "music"}
    assert views.isfinite().all()
    distance = (views[:, 1:] - crops[:, None]).norm(dim=2) / crops.norm(dim=1)[:, None]
    assert (distance > 0.05).all()
