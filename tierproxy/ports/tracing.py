"""Where requests and calls of alt are traced to. Absent (None) unless the configuration names a receiver."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class Span(Protocol):
    """One piece of work in a trace, while it lasts."""

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        ...

    def note(self, name: str = "", /, **facts: str | int) -> None:
        """Facts about it (in names ``_`` stands for a dot and ``__`` for itself), and a better name for it."""
        ...


class Spans(Protocol):
    """Spans begun inside a span's block are its children, also in tasks that are begun there. Never raises, never
    waits: what the receiver does not take is dropped."""

    def request(self, method: str, carrier: Mapping[str, str]) -> AbstractContextManager[Span]:
        """A client's request. ``carrier``: its traceparent and tracestate, if it has them."""
        ...

    def call(self, operation: str) -> AbstractContextManager[Span]:
        """An operation asked of alt."""
        ...
