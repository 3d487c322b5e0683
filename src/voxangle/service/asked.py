"""What can be asked beside a recording: in the address, or as fields of a form."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from voxangle.config import Config
from voxangle.runtime.decision import BayesRule
from voxangle.service.misfits import misfit_of
from voxangle.service.problems import ProblemError

__all__ = ["Add", "Asked", "Identify", "Name", "Rule", "Verify", "check_text"]

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]+$",
        description="Of the person; an account's number does as well, and tells less.",
    ),
]


class Asked(Config):
    """What may be asked, and how a form's fields join it."""

    def joined(self, fields: dict[str, str]) -> Self:
        """With the fields of a form, which say what the address does not.

        Raises:
            ProblemError: a field is not what it must be, or stands in the address too.
        """
        if twice := sorted(self.model_fields_set & fields.keys()):
            raise ProblemError(
                "bad-parameter", f"`{twice[0]}` stands in the address and in the form.", "Give it once."
            )
        given: dict[str, Any] = self.model_dump(exclude_unset=True) | fields
        try:
            return type(self).model_validate(given)
        except ValidationError as error:
            raise misfit_of(error) from error

    @classmethod
    def schemas(cls) -> dict[str, dict[str, Any]]:
        """JSON schemas of the fields, by name."""
        properties: dict[str, dict[str, Any]] = cls.model_json_schema()["properties"]
        return properties


class Rule(Asked):
    """What a decision is to be best for.

    Attributes:
        prior: of one voice before anything is heard; of somebody enrolled, where that is asked.
        c_miss: cost of a false rejection.
        c_fa: cost of a false acceptance.
        threshold: of the score instead: a number, or a name of the model's.
    """

    prior: Annotated[float, Field(gt=0.0, lt=1.0, description="Of one voice before anything is heard.")] = 0.5
    c_miss: Annotated[float, Field(gt=0.0, le=1e9, description="Cost of calling one voice two.")] = 1.0
    c_fa: Annotated[float, Field(gt=0.0, le=1e9, description="Cost of calling two voices one.")] = 1.0
    threshold: Annotated[
        str | None,
        Field(max_length=40, description="Of the score instead: a number, or a name of the model's."),
    ] = None

    @property
    def bayes(self) -> BayesRule:
        """As decisions take it."""
        return BayesRule(prior=self.prior, c_miss=self.c_miss, c_fa=self.c_fa)


class Verify(Rule):
    """A claim.

    Attributes:
        name: of whom the voice claims to be.
    """

    name: Name | None = None


class Identify(Rule):
    """A search.

    Attributes:
        top: how many candidates to show.
    """

    top: Annotated[int, Field(ge=1, le=100, description="How many candidates to show.")] = 5


class Add(Asked):
    """An enrolment.

    Attributes:
        name: of the person.
        add: to the voiceprint there is.
    """

    name: Name | None = None
    add: Annotated[bool, Field(description="Add the recordings to the voiceprint there is.")] = False


def check_text(where: str, content: bytes | bytearray, charset: str = "utf-8") -> None:
    """Refuse bytes that are no text: libraries would put other characters in their place, and so another name.

    Raises:
        ProblemError: they are not of this charset.
    """
    try:
        content.decode(charset)
    except UnicodeDecodeError as error:
        raise ProblemError(
            "bad-parameter", f"{where} holds a text that is not {charset.upper()}.", "Send texts in UTF-8."
        ) from error
