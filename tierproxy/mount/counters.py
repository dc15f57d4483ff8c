"""What the mount counts since its start. Numbers only grow; where two are added up, a formula says so::

lookups = remembered + asked      (asked: at least one request to the node was needed)
opens   = fetched + near + shared + kept + stubs + pieces + empty
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Plain numbers, changed on the loop only."""

    remembered: int = 0  #: names found, or found missing, in memory
    asked: int = 0  #: names that took a request to the node
    loads: int = 0  #: directories listed by the node
    fetched: int = 0  #: opens that brought a whole body
    near: int = 0  #: opens served from the node's own files
    shared: int = 0  #: opens that waited for a fetch another open had begun
    kept: int = 0  #: opens served from a body that is still here
    stubs: int = 0  #: opens that brought head and tail only
    pieces: int = 0  #: opens of objects above the whole-object limit
    empty: int = 0  #: opens of objects without a byte
    completed: int = 0  #: stubs whose body had to be fetched after all
    deliveries: int = 0  #: scratch files that became objects
    copies: int = 0  #: aliases that became objects
    renames: int = 0  #: objects and directories renamed
    rewrites: int = 0  #: private copies put
    deletes: int = 0  #: objects removed
    refused: int = 0  #: names that have no place on the mount (indexes, mdbox)
    failures: int = 0  #: answers of EIO because the node was in doubt
    tellings: int = 0  #: changes heard of
    restarts: int = 0  #: times everything was forgotten
    finished: int = 0  #: interrupted renames completed later
    withdrawn: int = 0  #: puts and copies in doubt that were taken back
    reported: int = 0  #: opens served from the node's files that the node was told of
    unreported: int = 0  #: and those it will not hear of
    private_lost: int = 0  #: private copies given up at the last close because the node would not have them
