"""What can be wrong with what somebody asks the desk for."""

from __future__ import annotations

from tierproxy.errors import ConfigError, RequestError


class WrongWish(RequestError):
    """What is asked for contradicts itself, or names something that is not there. ``where``: which part of it."""

    def __init__(self, message: str, where: str = "", *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.where = where


class NoSuchVersion(WrongWish):
    """There is no such version of the rules."""


class NoSuchRun(WrongWish):
    """There is no such run."""


class NoShadow(ConfigError):
    """There are no shadow rules."""


class Overtaken(RequestError):
    """Somebody else was faster: what was looked at is not what is in force any more. ``version``: what is."""

    def __init__(self, message: str, version: int = 0, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.version = version
