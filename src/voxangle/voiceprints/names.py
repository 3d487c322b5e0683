"""Names of people, as a store keeps them."""

from __future__ import annotations

import re
import unicodedata

from voxangle.errors import VoiceprintError

__all__ = ["new_person", "person"]

LONGEST = 200
_UNSHOWN = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
_FORMATTING = "Cf"  # of no width, or turning the direction of what follows
# What else leaves no mark (Unicode's Default_Ignorable_Code_Point, and the empty Braille cell):
# the joiner of graphemes, fillers of Hangul, vowels of Khmer that are not written, selectors of variants.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)


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


def new_person(name: str) -> str:
    """A name as ``person`` gives it, that nobody takes for another's: no character in it is invisible.

    Only new names are held to this: whoever was enrolled before it was asked is still found, and deleted, by name.

    Raises:
        VoiceprintError: as ``person``, or two names may look the same and differ in what is not seen.
    """
    composed = person(name)
    for one in composed:
        category = unicodedata.category(one)
        what = f"(U+{ord(one):04X})"
        if category == _FORMATTING or _INVISIBLE.match(one):
            raise VoiceprintError(
                f"the name has an invisible character {what}, with which two names look the same; leave it out"
            )
        if category == "Zs" and one != " ":
            raise VoiceprintError(
                f"the name has a space of another kind {what}, with which two names look the same; write an ordinary "
                "space"
            )
    return composed
