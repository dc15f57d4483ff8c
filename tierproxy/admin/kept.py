"""Answers that outlive the node: the last value of a question, in a file of the data directory. A node that has just
started shows it, with the moment it is of, until it has looked itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from tierproxy.admin.local import write_private
from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.ports import FileCalls

log = logging.getLogger(__name__)
T = TypeVar("T", bound=BaseModel)

FOLDER = "looks"  #: of the data directory


class Keeper(Generic[T]):
    """The file of one question. Its methods block: for threads; any number of them. Whatever goes wrong, the node does
    without: it is nothing that cannot be computed again."""

    def __init__(
        self,
        data: Path,
        name: str,
        model: type[T],
        files: FileCalls,
        *,
        good: Callable[[T], bool] = lambda _value: True,
    ) -> None:
        """``good``: on the loop, whether a value that was read still says something about this node."""
        self._file = data / FOLDER / f"{name}.json"
        self._model = model
        self._files = files
        self._turn = threading.Lock()
        self.good = good

    def __repr__(self) -> str:
        return f"<Keeper {self._file}>"

    def read(self) -> T | None:
        """None: there is none, or another version of tierproxy wrote something else."""
        try:
            return self._model.model_validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, value: T) -> None:
        """For the node's own user alone: it names owners."""
        try:
            with self._turn:
                self._files.mkdir(self._file.parent)
                write_private(self._file, value.model_dump_json(), self._files)
        except TierproxyError as error:
            event(log, logging.WARNING, "look at the catalogue not kept", file=str(self._file), error=error)
