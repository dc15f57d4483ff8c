"""Alt says that it can never hold an object of this name (SeaweedFS and ``a//b``): then it is not acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.errors import AltCannotHold, AltRefused, NoSuchKey
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import rig


async def test_what_alt_can_never_hold_is_refused_and_not_queued(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as node:
        alt.fail("put", AltCannotHold("a//b"))
        with pytest.raises(AltCannotHold):
            await node.put("a//b", b"mail")
        assert node.journal() == []
        with pytest.raises(NoSuchKey):
            await node.get("a//b")


async def test_another_refusal_is_queued_until_an_operator_has_acted(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as node:
        alt.fail("put", AltRefused("quota"))
        await node.put("a", b"mail")
        assert await node.get("a") == b"mail"
        await node.drained()
