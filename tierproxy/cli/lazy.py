"""Commands that are imported when they are asked for: ``tierproxy queue list`` needs neither FastAPI nor boto3, and a
list of all commands none of them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from tierproxy.cli.outcome import Group


@dataclass(frozen=True, slots=True)
class Place:
    """A command, or a group of them: where it is (``MODULE:NAME`` below ``tierproxy.cli``), and what a list of commands
    says of it."""

    name: str
    where: str
    panel: str
    help: str

    def load(self) -> Any:
        """The command itself."""
        module, _, name = self.where.partition(":")
        found = getattr(import_module(f"tierproxy.cli.{module}"), name)
        holder = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        holder.callback()(_nothing)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=self.name, rich_help_panel=self.panel)
        else:
            holder.command(self.name, rich_help_panel=self.panel)(found)
        group: Any = get_command(holder)
        return group.commands[self.name]

    def sketch(self) -> Any:
        """Enough of it for a list."""
        return TyperCommand(self.name, help=self.help, rich_help_panel=self.panel)


def _nothing() -> None:
    """A group needs a callback to stay a group with one command."""


class Loaded(MutableMapping[str, Any]):
    """Commands by name, loaded one by one."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = {place.name: place for place in places}
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._commands:
            self._commands[name] = self._places[name].load()
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._places, *self._commands]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._places or name in self._commands

    def sketch(self, name: str) -> Any:
        """What a list needs; of what is loaded the command itself."""
        return self._commands[name] if name in self._commands else self._places[name].sketch()


class LazyGroup(Group):
    """The group of the commands in ``places``, which a subclass names."""

    places: Sequence[Place] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._loaded = self.commands = Loaded(self.places)
        self._listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._loaded)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self._loaded:
            return None
        return self._loaded.sketch(cmd_name) if self._listing else self._loaded[cmd_name]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """A list: nothing is imported for it."""
        self._list(super().format_help, ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """A list as well."""
        return self._list(super().shell_complete, ctx, incomplete)

    def _list(self, call: Any, *arguments: Any) -> Any:
        self._listing = True
        try:
            return call(*arguments)
        finally:
            self._listing = False
