"""What all documents have in common.

Times are seconds since the epoch (UTC), durations seconds, sizes bytes, ratios 0 to 1; null: not known, or there is
none. Objects are named ``BUCKET/KEY``. Infinite times are the word ``forever``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Moment = float | Literal["forever"]
When = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
"""A moment that is asked for: to the year 5138, so that calendars have it."""
Number = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""A number that is asked for: of a version or a run, or bytes; the catalogue has no greater ones."""
Ratio = Annotated[float, Field(ge=0, le=1)]
ObjectText = Annotated[str, Field(min_length=3, max_length=1024 + 64, pattern="^[^/]+/", examples=["mail/alice/1"])]
Kind = Literal["live", "shadow"]


class Document(BaseModel):
    """Immutable. Readers ignore fields they do not know: a newer node may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Question(BaseModel):
    """The body of a request. Fields nobody knows are errors: a misspelt word must not change what is done."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Amount(Document):
    """So many objects with so many bytes."""

    objects: int = 0
    bytes: int = 0


class Problem(Document):
    """Why a request was not carried out (RFC 9457). ``code``: for programs; ``hint``: what to do; ``errors``: each
    fault of what was sent."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str = ""
    hint: str = ""
    errors: list[str] = []
