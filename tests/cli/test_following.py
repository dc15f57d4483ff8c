"""What somebody is told whose node goes away while it is followed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tierproxy.cli.following import Work
from tierproxy.cli.node import Line, NodeClient, Unreachable
from tierproxy.errors import Busy, TierproxyError
from tierproxy.wire.whatif import Job


class Going(NodeClient):
    """A node that ends its stream, or whose connection breaks."""

    def __init__(self, error: TierproxyError | None) -> None:
        self._error = error

    def events(self, path: str, line: Line | None = None) -> Iterator[tuple[str, Any]]:
        if self._error is not None:
            raise self._error
        return iter(())


@pytest.mark.parametrize("error", [None, Unreachable("no answer from the node")])
async def test_a_node_that_goes_away_says_what_becomes_of_the_work(error: TierproxyError | None) -> None:
    work = Work(Going(error), Job, "/jobs/x", "warm-up", lambda found: False, "it ends with the node")
    with pytest.raises((Busy, Unreachable)) as caught:
        await work.followed(lambda found: None)
    assert caught.value.hint == "it ends with the node"
