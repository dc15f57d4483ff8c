"""What commands that take minutes share: words about progress, and a wish as a JSON document instead of options."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tierproxy.cli.outcome import err

M = TypeVar("M", bound=BaseModel)
STEPS = 200  #: lines of JSON of one phase, at most

Report = Callable[[str, float, float, str], None]
"""Is told phase, done, total (0: not known) and unit."""


class Reporting(StrEnum):
    """``auto``: a bar if somebody looks."""

    AUTO = "auto"
    JSON = "json"
    NONE = "none"


ProgressOption = Annotated[
    Reporting,
    typer.Option("--progress", help="On stderr: a bar on a terminal (auto), a line of JSON at a time (json), nothing."),
]
WishFile = Annotated[
    str | None,
    typer.Option("--wish", metavar="FILE", help="What is wanted as a JSON document, instead of options; - is stdin."),
]


@contextmanager
def reported(how: Reporting, *, quiet: bool = False) -> Iterator[Report]:
    """Say on stderr how far the work inside is. ``quiet``: no bar, even if somebody looks."""
    if how is Reporting.JSON:
        yield _Lines()
    elif how is Reporting.NONE or quiet or not sys.stderr.isatty():
        yield _quiet
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err(), transient=True) as bars:
            yield _Bars(bars)


def _quiet(phase: str, done: float, total: float, unit: str) -> None:
    """Nobody looks."""


class _Lines:
    """One JSON document a line: ``tierproxy.wire.whatif.Progress``."""

    def __init__(self) -> None:
        self._last = ("", -1)

    def __call__(self, phase: str, done: float, total: float, unit: str) -> None:
        step = int(STEPS * done / total) if total else int(done)
        if (phase, step) == self._last:
            return
        self._last = (phase, step)
        line = json.dumps({"phase": phase, "done": done, "total": total, "unit": unit})
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class _Bars:
    """One bar a phase."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._phase = ""
        self._task = bars.add_task("")

    def __call__(self, phase: str, done: float, total: float, unit: str) -> None:
        if phase != self._phase:
            self._phase = phase
            self._bars.reset(self._task, description=phase, total=total or None)
        self._bars.update(self._task, completed=done, total=total or None)


def wished(model: type[M], file: str, options: Mapping[str, object]) -> M:
    """The wish in ``file``. ``options``: what was said beside it: nothing, or it is wrong usage."""
    given = [name for name, value in options.items() if value]
    if given:
        raise typer.BadParameter(f"--wish says everything; leave out {', '.join(given)}")
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return model.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}", param_hint="--wish") from error
    except ValidationError as error:
        raise typer.BadParameter(_faults(error), param_hint="--wish") from error


def checked(model: type[M], **values: object) -> M:
    """The wish that options make."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise typer.BadParameter(_faults(error)) from error


def _faults(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'document'}: {one['msg']}" for one in error.errors())
