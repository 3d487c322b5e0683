from __future__ import annotations

import pytest
from pydantic import ValidationError

from voxangle.augment import AugmentConfig, KindWeights

NOTHING = {"reverb": 0, "noise": 0, "babble": 0, "music": 0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": 0}, "views"),
        ({"noise_snr": (15, 0)}, "noise_snr.*lower end first"),
        ({"music_snr": (15, 0)}, "music_snr.*lower end first"),
        ({"babble_snr": (15, 0)}, "babble_snr.*lower end first"),
        ({"noise_snr": (0, float("nan"))}, "finite number"),
        ({"babble_speakers": (0, 3)}, "at least one talker"),
        ({"babble_speakers": (5, 3)}, "lower end first"),
        ({"kinds": {"noise": -1}}, "greater than or equal to 0"),
        ({"kinds": NOTHING}, "give at least one of them a weight"),
        ({"kinds": {"hum": 1}}, "hum"),
        ({"rooms": 0}, "rooms"),
        ({"bank_seconds": 0}, "bank_seconds"),
        ({"babble_talkers": 3}, "babble_talkers"),
    ],
)
def test_a_mistake_in_the_settings_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        AugmentConfig.model_validate(settings)


def test_without_a_view_to_draw_no_kind_is_needed() -> None:
    assert AugmentConfig(views=1, kinds=KindWeights(**NOTHING)).drawn_views == 0
    assert AugmentConfig(views=1, clean_first=False).drawn_views == 1
    assert AugmentConfig(views=3).drawn_views == 2
