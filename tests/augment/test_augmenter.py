from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from voxangle.augment import AugmentConfig, Augmenter, Banks, KindWeights
from voxangle.augment.babble import Talkers
from voxangle.augment.clips import Clips
from voxangle.augment.kinds import Added, Babble, Clean, Reverb, Telephone
from voxangle.augment.mixing import DIRECT_PATH, power
from voxangle.errors import CorpusError

ALL = {"clean": 1.0, "reverb": 1.0, "noise": 1.0, "babble": 1.0, "music": 1.0, "telephone": 1.0}
SPEAKERS = np.arange(6).repeat(2)


def sounds(count: int, seed: int, samples: int = 3000) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).standard_normal((count, samples)).astype(np.float32))


@pytest.fixture(scope="module")
def banks() -> Banks:
    config = AugmentConfig()
    rooms = torch.from_numpy(np.stack(sounds(5, 0, 400))) * torch.linspace(0, -6, 400).exp()
    rooms[:, :DIRECT_PATH] = 0
    rooms[:, DIRECT_PATH] = 6
    return Banks(
        {
            "clean": Clean(),
            "reverb": Reverb(rooms),
            "noise": Added(Clips.of(sounds(7, 1)), config.noise_snr),
            "babble": Babble(
                Talkers.of(Clips.of(sounds(12, 2)), SPEAKERS), config.babble_snr, config.babble_speakers
            ),
            "music": Added(Clips.of(sounds(3, 3, 9000)), config.music_snr),
            "telephone": Telephone(),
        }
    )


def crops(rows: int = 6, samples: int = 4000, seed: int = 9) -> torch.Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def only(kind: str, **settings: object) -> AugmentConfig:
    return AugmentConfig(kinds=KindWeights(**{name: float(name == kind) for name in ALL}), **settings)


@pytest.mark.parametrize(("views", "clean_first"), [(1, True), (1, False), (2, True), (4, True), (3, False)])
def test_views_stand_beside_their_crop_and_the_first_is_the_crop_itself(
    banks: Banks, views: int, clean_first: bool
) -> None:
    x = crops()
    made = Augmenter(AugmentConfig(views=views, clean_first=clean_first), banks)(x, generator())
    assert made.shape == (6, views, 4000)
    assert made.dtype == torch.float32
    assert torch.equal(made[:, 0], x) == clean_first
    # A view is of its own crop, not of its neighbour's: of all crops it is most like that one.
    likeness = torch.einsum("bvt,ct->bvc", made, x)
    assert (likeness.argmax(2) == torch.arange(6)[:, None]).float().mean() > 0.9


def test_the_batch_itself_is_never_written_to(banks: Banks) -> None:
    x = crops()
    for config in (AugmentConfig(views=1), AugmentConfig(views=3), only("clean")):
        made = Augmenter(config, banks)(x, generator())
        made += 1
        assert torch.equal(x, crops())


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("noise", 0.0, 15.0), ("music", 5.0, 15.0), ("babble", 13.0, 20.0)]
)
def test_the_levels_of_what_is_added_fill_their_range(
    banks: Banks, kind: str, low: float, high: float
) -> None:
    x = crops(200, 2500)
    added = Augmenter(only(kind), banks)(x, generator())[:, 1].double() - x.double()
    snr = 10 * torch.log10(x.double().square().mean(1) / added.square().mean(1))
    assert low - 0.1 <= snr.min() <= low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) <= snr.max() <= high + 0.1
    assert snr.mean().item() == pytest.approx((low + high) / 2, abs=0.08 * (high - low))


@pytest.mark.parametrize("kind", ["noise", "music", "babble"])
@pytest.mark.parametrize("samples", [1600, 7919, 48_000])
@pytest.mark.parametrize("level", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("snr", [-5.0, 0.0, 7.3, 20.0])
def test_the_snr_of_a_view_is_exact_to_a_tenth_of_a_decibel(
    banks: Banks, kind: str, samples: int, level: float, snr: float
) -> None:
    x = level * crops(8, samples)
    x[:, samples // 2 :] *= 0.05  # half a pause: it counts
    bank = Banks({kind: dataclasses.replace(banks.kinds[kind], snr=(snr, snr))})
    views = Augmenter(only(kind), bank)(x, generator())
    added = views[:, 1].double() - views[:, 0].double()
    got = 10 * torch.log10(x.double().square().mean(1) / added.square().mean(1))
    np.testing.assert_allclose(got, snr, atol=0.1)


def test_a_view_in_a_room_is_the_crop_convolved_with_one_of_the_rooms(banks: Banks) -> None:
    x = crops()
    made = Augmenter(only("reverb"), banks)(x, generator())[:, 1]
    rooms = banks.kinds["reverb"].rooms.double()
    for crop, view in zip(x.double(), made.double(), strict=True):
        wet = [np.convolve(crop, room)[DIRECT_PATH:][:4000] for room in rooms]
        wet = [w * math.sqrt(crop.square().mean() / (w**2).mean()) for w in wet]
        assert min(np.abs(view.numpy() - w).max() for w in wet) < 1e-5


def test_kinds_come_as_often_as_their_weights_say(banks: Banks) -> None:
    weights = {"clean": 1.0, "reverb": 3.0, "noise": 2.0, "babble": 0.0, "music": 4.0}
    augmenter = Augmenter(AugmentConfig(views=3, kinds=KindWeights(**weights)), banks)
    assert augmenter.kinds == ("clean", "reverb", "noise", "music")
    numbers, _ = augmenter._draw(0, 5000, generator())
    expected = 10_000 * torch.tensor([0.1, 0.3, 0.2, 0.4])
    chi_square = ((torch.bincount(numbers, minlength=4) - expected) ** 2 / expected).sum()
    assert chi_square < 16.3  # 3 degrees of freedom, p = 0.001
    made = Augmenter(AugmentConfig(kinds=KindWeights(**weights)), banks)(crops(400, 300), generator())
    unchanged = (made[:, 1] == made[:, 0]).all(1).float().mean().item()
    assert unchanged == pytest.approx(0.1, abs=0.05)


def test_the_views_of_one_crop_draw_their_kinds_apart_from_each_other(banks: Banks) -> None:
    numbers, _ = Augmenter(AugmentConfig(views=3), banks)._draw(0, 4000, generator())
    pairs = torch.bincount(numbers.reshape(-1, 2) @ torch.tensor([4, 1]), minlength=16)
    assert ((pairs - 250) ** 2 / 250).sum() < 37.7  # 15 degrees of freedom, p = 0.001


@pytest.mark.parametrize("off", list(ALL))
def test_a_kind_of_weight_0_is_never_drawn(banks: Banks, off: str) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError(f"{off} was drawn")

    bank = Banks({**banks.kinds, off: SimpleNamespace(to=lambda _: refuse)})
    augmenter = Augmenter(AugmentConfig(kinds=KindWeights(**{**ALL, off: 0.0})), bank)
    assert augmenter(crops(200, 300), generator()).shape == (200, 2, 300)
    with pytest.raises(AssertionError, match="was drawn"):
        Augmenter(AugmentConfig(kinds=KindWeights(**ALL)), bank)(crops(200, 300), generator())


def test_a_generator_s_seed_decides_everything(banks: Banks) -> None:
    augmenter = Augmenter(AugmentConfig(views=3, kinds=KindWeights(**ALL)), banks)
    first = augmenter(crops(), generator(1))
    assert torch.equal(augmenter(crops(), generator(1)), first)
    assert not torch.equal(augmenter(crops(), generator(2)), first)
    torch.manual_seed(99)
    assert torch.equal(augmenter(crops(), generator(1)), first)


def test_ranks_make_the_views_that_one_process_would_make(banks: Banks) -> None:
    augmenter = Augmenter(AugmentConfig(views=3, kinds=KindWeights(**ALL)), banks)
    x, labels = crops(9), torch.arange(9) % 6
    whole = augmenter(x, generator(4), labels)
    for first, last in ((0, 3), (3, 6), (6, 9), (2, 7)):
        share = augmenter(x[first:last], generator(4), labels[first:last], first_row=first)
        torch.testing.assert_close(share, whole[first:last], rtol=0, atol=1e-6)


def test_a_view_does_not_depend_on_the_other_crops_of_the_batch(banks: Banks) -> None:
    augmenter = Augmenter(AugmentConfig(kinds=KindWeights(**ALL)), banks)
    x, other = crops(), crops(seed=10)
    other[2] = x[2]
    alone, among = augmenter(x, generator()), augmenter(other, generator())
    torch.testing.assert_close(alone[2], among[2], rtol=0, atol=1e-6)


def test_no_crop_stands_in_a_babble_of_its_own_speaker() -> None:
    config = only("babble", babble_speakers=(1, 3))
    speech = sounds(12, 2)
    banks = Banks({"babble": Babble(Talkers.of(Clips.of(speech), SPEAKERS), (0.0, 0.0), (1, 3))})
    x, labels = crops(120, 2900), torch.arange(120) % 6
    added = Augmenter(config, banks)(x, generator(), labels)[:, 1] - x
    spoken = torch.from_numpy(np.stack(speech))
    for crop, label in zip(added, labels.tolist(), strict=True):
        spectrum = torch.fft.rfft(crop, 6000) * torch.fft.rfft(spoken, 6000).conj()
        match = torch.fft.irfft(spectrum, 6000).abs().amax(1) / crop.norm() / spoken.norm(dim=1)
        heard = set(SPEAKERS[(match > 0.3).numpy()].tolist())
        assert 1 <= len(heard) <= 3
        assert label not in heard


def test_silence_in_the_crop_or_in_the_bank_makes_no_nan(banks: Banks) -> None:
    silent = Clips.of([np.zeros(500, np.float32)] * 3)
    quiet = Banks(
        {
            **banks.kinds,
            "noise": Added(silent, (0, 15)),
            "babble": Babble(Talkers.of(silent, np.arange(3)), (13, 20), (2, 3)),
        }
    )
    x = crops(40)
    x[::2] = 0
    for bank in (banks, quiet):
        made = Augmenter(AugmentConfig(views=3, kinds=KindWeights(**ALL)), bank)(x, generator())
        assert made.isfinite().all()
        assert made[::2].abs().max() < 1e-3  # not nothing: the A-law has no level at zero
    assert torch.equal(Augmenter(only("noise"), quiet)(x, generator())[:, 1], x)


def test_power_of_a_view_in_a_room_is_that_of_the_crop(banks: Banks) -> None:
    made = Augmenter(only("reverb"), banks)(crops(), generator())
    torch.testing.assert_close(power(made[:, 1]), power(made[:, 0]), rtol=1e-4, atol=0)


def test_when_no_kind_has_a_bank_the_reasons_are_given() -> None:
    with pytest.raises(CorpusError, match="music: left out"):
        Augmenter(only("music"), Banks({}, ("music: left out, nothing there",)))
    assert Augmenter(only("music", views=1), Banks({}))(crops(), generator()).shape == (6, 1, 4000)


def test_everything_is_computed_where_the_batch_is(banks: Banks) -> None:
    # The meta device computes nothing, but refuses an operand that was left on the CPU.
    augmenter = Augmenter(AugmentConfig(views=4, kinds=KindWeights(**ALL)), banks)
    made = augmenter(crops().to("meta"), generator(), torch.arange(6))
    assert made.is_meta
    assert made.shape == (6, 4, 4000)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_views_are_the_same_on_every_device(banks: Banks) -> None:
    augmenter = Augmenter(AugmentConfig(views=4, kinds=KindWeights(**ALL)), banks)
    labels = torch.arange(6)
    here = augmenter(crops(), generator(), labels)
    there = augmenter(crops().cuda(), generator(), labels.cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-5)
