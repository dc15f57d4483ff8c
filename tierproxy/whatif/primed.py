"""Requests for plain policies that begin as the rules do: with what was on disk when the recording began."""

from __future__ import annotations

from array import array

from tierproxy.trace import Trace
from tierproxy.whatif.engine.start import began, was_there
from tierproxy.whatif.requests import WRITE, Requests, requests_of


def primed(trace: Trace, *, machine: bool = False) -> Requests:
    """Reads (people's; with ``machine`` all), writes and deletes of ``trace``; before them a write of each object whose
    first event is a recorded hit or a purge: it was on disk. They are no reads, so nothing of them is counted."""
    found = requests_of(trace, machine=machine)
    there = [(number, place) for number, place in began(trace) if was_there(trace, place)]
    if not there:
        return found
    return Requests(
        bytes([WRITE]) * len(there) + found.kinds,
        array("I", (number for number, _ in there)) + found.numbers,
        array("q", (trace.size[place] for _, place in there)) + found.sizes,
        array("d", [trace.span[0]]) * len(there) + found.at,
        found.objects,
    )
