"""One name, one config, one module."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from voxangle.config import Config
from voxangle.encoders import ENCODERS, ECAPATDNNConfig, EncoderConfig, build_encoder


class Holder(Config):
    encoder: EncoderConfig


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_is_built_from_its_name_alone(name: str) -> None:
    config = Holder.model_validate({"encoder": {"architecture": name, "dimension": 32}}).encoder
    assert type(config) is ENCODERS[name].config
    encoder = build_encoder(config).eval()
    assert encoder.dimension == 32
    with torch.no_grad():
        assert encoder(torch.randn(2, 30, config.bins)).shape == (2, 32)


def test_settings_come_back_from_plain_data() -> None:
    holder = Holder(encoder=ECAPATDNNConfig(channels=64))
    assert Holder.model_validate(holder.model_dump()) == holder
    assert Holder.model_validate_json(holder.model_dump_json()) == holder


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"'ecapa' .* does not match .* 'ecapa_tdnn'"):
        Holder.model_validate({"encoder": {"architecture": "ecapa"}})


def test_an_unknown_setting_is_located() -> None:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"encoder": {"architecture": "ecapa_tdnn", "chanels": 64}})
    (problem,) = caught.value.errors()
    assert problem["type"] == "extra_forbidden"
    assert problem["loc"] == ("encoder", "ecapa_tdnn", "chanels")


@pytest.mark.parametrize("name", ENCODERS)
def test_every_number_of_the_settings_has_bounds(name: str) -> None:
    """A stranger's card or a slip in a recipe must not ask for more memory than there is in the world."""
    schema = ENCODERS[name].config.model_json_schema()
    for settings in (schema, *schema.get("$defs", {}).values()):
        for field, entry in settings.get("properties", {}).items():
            kinds = [
                kind for kind in entry.get("anyOf", [entry]) if kind.get("type") in {"integer", "number"}
            ]
            assert all("maximum" in kind or "exclusiveMaximum" in kind or "enum" in kind for kind in kinds), (
                field
            )
