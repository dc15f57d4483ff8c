"""A node that remembers few names.

What it remembers of names (of recent changes, of reads, of answers made before) has bounds that take an hour of load
to reach; until then its memory grows, and what grows without a bound does not stand out. With small bounds, it does.
"""

from __future__ import annotations


def remember(names: int) -> None:
    """In this process, before a node is made: nothing that is kept by name holds more than ``names``."""
    from tierproxy.catalogue import entries
    from tierproxy.mail import names as naming
    from tierproxy.s3api.lane import lane
    from tierproxy.store import fill, lookup, recent, tally

    entries.REMEMBERED = lane.KNOWN = fill.NAMES = lookup.FRESH_NAMES = names
    naming.REMEMBERED = tally.RECENT = tally.REMEMBERED = names
    recent.RecentChanges.__init__.__defaults__ = (names,)
