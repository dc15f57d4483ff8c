"""A catalogue whose disk hangs: nobody waits for ever, and what was begun ends one way or the other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tierproxy.errors import DiskHangs, NoSuchKey
from tierproxy.testing.gate import Gate
from tierproxy.wiring import Doors

from .sick import DISK, Ward, ward


class Held:
    """A catalogue whose changes stand at a gate."""

    def __init__(self, inner: Any, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate
        self.find = inner.find

    def __getattr__(self, attribute: str) -> Any:
        call = getattr(self._inner, attribute)
        return self._gate.guard(call) if attribute in {"publish", "tombstone", "suspect", "add_upload"} else call


def holding(gate: Gate) -> Any:
    def wrap(doors: Doors) -> Doors:
        return replace(doors, catalogue=Held(doors.catalogue, gate))

    return wrap


async def told(w: Ward, work: asyncio.Task[Any]) -> tuple[BaseException | None, float]:
    begin = w.clock.monotonic()
    while not work.done():
        await asyncio.sleep(0.001)
        await w.clock.advance(0.5)
    return work.exception(), w.clock.monotonic() - begin


@pytest.mark.parametrize("change", ["write", "delete"])
async def test_who_waits_for_a_change_is_told_to_try_again_and_the_change_is_made(tmp_path: Path, change: str) -> None:
    gate = Gate(opened=True)
    async with ward(tmp_path, wrap=holding(gate)) as w:
        await w.rig.put("u.1", b"old")
        gate.close()
        doing = w.rig.put("u.1", b"new") if change == "write" else w.rig.delete("u.1")
        error, waited = await told(w, asyncio.ensure_future(doing))
        assert isinstance(error, DiskHangs)
        assert waited <= 2.5 * DISK.patience
        assert await w.result(w.rig.get("u.1")) == b"old", "nothing was acknowledged"
        error, waited = await told(w, asyncio.ensure_future(w.rig.put("u.2", b"a mail")))
        assert isinstance(error, DiskHangs)
        assert waited <= DISK.patience, "new changes are refused at once"
        gate.open()
        await w.rig.idle()
        await w.passes(5)
        if change == "write":
            assert await w.rig.get("u.1") == w.in_alt("u.1") == b"new"
        else:
            with pytest.raises(NoSuchKey):
                await w.rig.get("u.1")
        await w.rig.put("u.2", b"a mail")
        assert await w.rig.get("u.2") == b"a mail"


async def test_a_change_that_waits_for_a_slow_file_is_not_taken_for_a_hung_catalogue(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        w.files.hang("fsync")
        written, _ = await w.outcome(w.rig.put("u.1", b"a mail"))
        assert not isinstance(written, BaseException)
        assert written.entry.tiers == ("alt",)
