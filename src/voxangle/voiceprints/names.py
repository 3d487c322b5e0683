"""Names of people, as a store keeps them."""

from __future__ import annotations

import unicodedata

from voxangle.errors import VoiceprintError

__all__ = ["person"]

LONGEST = 200
_UNSHOWN = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}


def person(name: str) -> str:
    """A name without spaces at its ends, its characters composed (NFC), so that one name is one text.

    Raises:
        VoiceprintError: nothing is left, it is too long, or it has characters that no terminal shows.
    """
    composed = unicodedata.normalize("NFC", name).strip()
    if not composed:
        raise VoiceprintError("the name is empty; say who it is")
    if len(composed) > LONGEST:
        raise VoiceprintError(f"the name has {len(composed)} characters; {LONGEST} are the most")
    if unshown := next((one for one in composed if unicodedata.category(one) in _UNSHOWN), None):
        raise VoiceprintError(
            f"the name has a character that cannot be shown (U+{ord(unshown):04X}); leave it out"
        )
    return composed
