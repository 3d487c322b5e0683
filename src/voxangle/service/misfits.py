"""What is wrong with a parameter, and what to give instead, in the service's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from voxangle.service.problems import ProblemError

__all__ = ["misfit", "misfit_of"]

_NO_NUMBER = ("is no number", "Give a number, with a point before its decimals.")
_NOT_WHOLE = ("is no whole number", "Give a whole number.")
_NOT_TRUE = ("is neither true nor false", "Give true or false.")
_NO_OBJECT = ("is no JSON object", "Give a JSON object.")
_WORDS = {
    "missing": ("is missing", "Give it in the address, or as a field of the form."),
    "extra_forbidden": (
        "is not known here",
        "Leave it out, or see in /v1/openapi.json what the route knows and how that is spelt.",
    ),
    "string_type": ("is no text", "Give a text."),
    "string_too_short": ("is empty", "Give at least one character."),
    "string_too_long": ("has more than {max_length} characters", "Give at most {max_length}."),
    "string_pattern_mismatch": (
        "has a line break, a tab or another character that nobody sees",
        "Leave that out.",
    ),
    "float_type": _NO_NUMBER,
    "float_parsing": _NO_NUMBER,
    "finite_number": ("is not finite", "Give a finite number."),
    "int_type": _NOT_WHOLE,
    "int_parsing": _NOT_WHOLE,
    "int_parsing_size": _NOT_WHOLE,
    "int_from_float": _NOT_WHOLE,
    "bool_type": _NOT_TRUE,
    "bool_parsing": _NOT_TRUE,
    "greater_than": ("is not above {gt:g}", "Give a number above {gt:g}."),
    "greater_than_equal": ("is below {ge:g}", "Give {ge:g} or more."),
    "less_than": ("is not below {lt:g}", "Give a number below {lt:g}."),
    "less_than_equal": ("is above {le:g}", "Give {le:g} or less."),
    "json_invalid": _NO_OBJECT,
    "model_type": _NO_OBJECT,
}
"""What is wrong and its cure, by pydantic's type of the error, with its bounds to be filled in."""

_OTHERWISE = ("is not what it must be", "Give it as /v1/openapi.json says.")
_SHOWN = 40  # characters of what a caller called a parameter


def misfit(error: Mapping[str, Any], place: Sequence[object], whole: str = "request") -> ProblemError:
    """The problem of a parameter that does not hold.

    Args:
        error: what pydantic found.
        place: names that lead to the parameter.
        whole: what to call it where it is no single one.
    """
    what, cure = _WORDS.get(error["type"], _OTHERWISE)
    name = ".".join(map(str, place))[:_SHOWN]
    subject = f"`{name}`" if name else f"The {whole}"
    bounds = error.get("ctx", {})
    return ProblemError("bad-parameter", f"{subject} {what.format(**bounds)}.", cure.format(**bounds))


def misfit_of(error: ValidationError, whole: str = "request") -> ProblemError:
    """The first one of several that pydantic found."""
    first = error.errors(include_url=False)[0]
    return misfit(first, first["loc"], whole)
