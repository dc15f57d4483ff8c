"""Requests through a policy."""

from __future__ import annotations

from collections.abc import Callable

from tierproxy.whatif.policies import Policy
from tierproxy.whatif.requests import Requests
from tierproxy.whatif.tally import Tally

PART = 2**18
"""Events between two words about progress."""

Progress = Callable[[int], None]
"""Is told how many events are done."""


def quiet(done: int) -> None:
    """Progress that nobody looks at."""


def replay(
    policy: Policy, requests: Requests, *, counted_from: float | None = None, progress: Progress = quiet
) -> Tally:
    """All of ``requests``, in order; ``policy`` goes on from whatever state it is in. Events before ``counted_from``
    (seconds since the epoch) fill the disk and are not counted; None: all are."""
    warm = 0 if counted_from is None else requests.index(counted_from)
    run(policy, requests, 0, warm, progress)
    return run(policy, requests, warm, len(requests), progress)


def run(policy: Policy, requests: Requests, start: int, end: int, progress: Progress = quiet) -> Tally:
    """The events from ``start`` up to ``end``."""
    total = Tally()
    for begin in range(start, end, PART):
        stop = min(begin + PART, end)
        count, size = requests.reads(begin, stop)
        lost = policy.replay(requests.kinds[begin:stop], requests.numbers[begin:stop], requests.sizes[begin:stop])
        total += Tally(count, count - lost.misses, size, size - lost.bytes, lost.evictions)
        progress(stop)
    return total
