"""A catalogue whose n-th change fails, or at whose n-th change the machine stops."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from tierproxy.ports import Catalogue

CHANGES = frozenset(
    {
        "publish", "fill", "learn", "suspect", "settle", "uploaded", "tombstone", "forget", "drop_blob",
        "postpone", "hurry", "add_bucket", "complete_bucket", "remove_bucket", "add_upload", "add_part",
        "remove_upload", "insert_listed", "adopt", "raise_generation",
        "count", "prune_counts", "reclassify", "name_by", "begin_shadow", "end_shadow", "shadow_drop",
        "drop_blobs", "requeue", "pin", "add_run", "save_run", "confirm_run", "cancel_run", "prune_runs",
        "add_version", "version_live",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Fault:
    error: BaseException
    durable: bool  #: the change happens, and its caller never hears of it
    crash: bool  #: nothing works afterwards


class FaultyCatalogue:
    """Wraps any catalogue. ``history`` names the changes asked for so far; change n is ``history[n - 1]``.

    Give ``port`` to the code under test, and keep this to plan faults and ``inner`` to look at what is durable.
    """

    def __init__(self, inner: Catalogue) -> None:
        self.inner = inner
        self.history: list[str] = []
        self._faults: dict[int, _Fault] = {}
        self._crashed: BaseException | None = None

    def __repr__(self) -> str:
        return f"<FaultyCatalogue after {self.changes} changes{' (crashed)' if self._crashed else ''}>"

    @property
    def port(self) -> Catalogue:
        """This, typed as what it stands in for."""
        return cast(Catalogue, self)

    @property
    def changes(self) -> int:
        """How many changes were asked for."""
        return len(self.history)

    @property
    def crashed(self) -> bool:
        return self._crashed is not None

    def crash_before(self, nth: int, crash: BaseException | None = None) -> None:
        """The machine stops before change ``nth`` (from 1) is durable. ``crash``: what every call raises from then on,
        SimulatedCrash unless given."""
        self._faults[nth] = _Fault(crash or _simulated_crash(nth), durable=False, crash=True)

    def crash_after(self, nth: int, crash: BaseException | None = None) -> None:
        """The machine stops when change ``nth`` is durable and before its caller hears of it."""
        self._faults[nth] = _Fault(crash or _simulated_crash(nth), durable=True, crash=True)

    def fail(self, nth: int, error: BaseException) -> None:
        """Change ``nth`` raises ``error`` and does not happen; the ones after it work."""
        self._faults[nth] = _Fault(error, durable=False, crash=False)

    def __getattr__(self, name: str) -> Any:
        """Whatever the inner catalogue has."""
        attribute = getattr(self.inner, name)
        if name in CHANGES:
            return functools.partial(self._change, name, attribute)
        return functools.partial(self._call, attribute) if callable(attribute) else attribute

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._crashed is not None:
            raise self._crashed
        return method(*args, **kwargs)

    async def _change(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._crashed is not None:
            raise self._crashed
        self.history.append(name)
        fault = self._faults.get(self.changes)
        if fault is None:
            return await method(*args, **kwargs)
        if kwargs.get("after") is not None:  # the change would have been queued then
            await kwargs["after"].wait()
        if fault.crash:
            self._crashed = fault.error
        if fault.durable:
            await method(*args, **kwargs)
        raise fault.error


def _simulated_crash(nth: int) -> BaseException:
    from tierproxy.testing.crash import SimulatedCrash

    return SimulatedCrash(f"stopped at change {nth} of the catalogue")
