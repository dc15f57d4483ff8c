"""The doors between the heart (``tierproxy.store``) and everything that does I/O.

Every port has one contract suite in ``tierproxy.testing.contracts`` that runs on each implementation: the memory one,
the real one and the fault-injecting one. "loop" in a docstring means: called on the event loop and returns at once.

Errors: each method raises only the part of ``tierproxy.errors`` named in its docstring.
"""

from tierproxy.ports.alt import UNHEARD, AltBody, AltTier
from tierproxy.ports.body import BodyCheck
from tierproxy.ports.catalogue import Catalogue
from tierproxy.ports.counting import Counting, HistoryLog
from tierproxy.ports.disk import DiskTier, Durable, Keeping, OpenBlob, Source, Staged
from tierproxy.ports.health import Condition, Health, State
from tierproxy.ports.machine import Clock, FileCalls, Hands, Offload, Reserve, Timer, WorkerPlace
from tierproxy.ports.near import Near, Standing, Unanswered, Versions
from tierproxy.ports.planning import Planning, Purging
from tierproxy.ports.rooms import Alarms, Hot, Kept, Leaser, NoticeBus, Purgeable, Stubs
from tierproxy.ports.tracing import Span, Spans

__all__ = [
    "UNHEARD",
    "Alarms",
    "AltBody",
    "AltTier",
    "BodyCheck",
    "Catalogue",
    "Clock",
    "Condition",
    "Counting",
    "DiskTier",
    "Durable",
    "FileCalls",
    "Hands",
    "Health",
    "HistoryLog",
    "Hot",
    "Keeping",
    "Kept",
    "Leaser",
    "Near",
    "NoticeBus",
    "Offload",
    "OpenBlob",
    "Planning",
    "Purgeable",
    "Purging",
    "Reserve",
    "Source",
    "Span",
    "Spans",
    "Staged",
    "Standing",
    "State",
    "Stubs",
    "Timer",
    "Unanswered",
    "Versions",
    "WorkerPlace",
]
