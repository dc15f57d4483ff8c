"""Recorded traffic for what-if: a node's own history, or places that --from names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tierproxy.cli.longwork import Report
from tierproxy.cli.outcome import warn
from tierproxy.cli.settings import configuration, data_directory
from tierproxy.cli.words import moment
from tierproxy.config.sections import Config
from tierproxy.errors import TierproxyError
from tierproxy.trace import Trace

if TYPE_CHECKING:
    from tierproxy.history.reading import History

HINT = (
    "a node writes one while it works (wait for some days of mail); `tierproxy history import` makes one of access "
    "logs and `tierproxy history generate` one of a model: name its directory with --from"
)


def known(config: Path | None, places: list[Path] | None) -> Config:
    """The configuration; defaults where none is named and --from says what is replayed: to be tried before anything is
    set up."""
    return configuration(config) if config is not None or not places else Config()


def recorded(
    config: Config, places: list[Path] | None, since: float | None, until: float | None, report: Report
) -> Trace:
    """Events with ``since <= at < until``, at least one. Raises TierproxyError, which says what to do."""
    from tierproxy.history.trace import load

    history, where = _opened(config, places)
    total = history.rows
    report("reading history", 0, total, "events")
    trace = load(history, since, until, progress=lambda done: report("reading history", done, total, "events"))
    for skipped in history.skipped:
        warn(f"skipped {skipped.path}: {skipped.why}")
    if not len(trace):
        raise TierproxyError(f"no events{_between(since, until)} in the history at {where}", hint=_hint(history))
    return trace


def _opened(config: Config, places: list[Path] | None) -> tuple[History, str]:
    from tierproxy.history.reading import open_history

    chosen = places or [data_directory(config)]
    where = ", ".join(map(str, chosen))
    if not places and not chosen[0].exists():
        raise TierproxyError(f"there is no history yet: no data directory {where}", hint=HINT)
    history = open_history(*chosen)
    if not history.rows:
        for skipped in history.skipped:
            warn(f"skipped {skipped.path}: {skipped.why}")
        raise TierproxyError(f"there is no history at {where} yet", hint=HINT)
    return history, where


def _between(since: float | None, until: float | None) -> str:
    after = f" from {moment(since)} on" if since is not None else ""
    before = f" before {moment(until)}" if until is not None else ""
    return after + before


def _hint(history: History) -> str:
    span = history.span()
    return HINT if span is None else f"it goes from {moment(span[0])} to {moment(span[1])} UTC"
