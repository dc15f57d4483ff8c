"""What a connection knows of the hit lane, and who is told what it served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tierproxy.traffic import Delivery


@dataclass(frozen=True, slots=True)
class Served:
    """What the lane has answered since it was asked last. ``answers``: requests by status code. ``deliveries``: the
    reads among them, in the order in which each object was first asked for."""

    deliveries: Sequence[Delivery] = ()
    answers: Mapping[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.answers)


class Lane(Protocol):
    """Confined to the event loop of its process. Never waits, never raises."""

    def answer(
        self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], peer: str, preamble: bytes
    ) -> Sequence[bytes] | None:
        """The whole response, in pieces, to a request without a body that came over HTTP/1.1 on a connection that is
        kept alive and waits for nothing. ``target`` as it came, ``headers`` with lower-case names in their order,
        ``peer`` as ``Exchange.peer``; ``preamble``: header lines that every response has (Date, Server), each with its
        CRLF. The response is counted as delivered.

        None: the ordinary way is to answer, errors included. Nothing was counted."""
        ...

    def take(self) -> Served:
        """What was served since the last call."""
        ...
