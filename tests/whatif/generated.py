"""Requests for the tests of plain policies: by hand, Zipf, and generated mail."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, compress

from hypothesis import strategies as st

from tierproxy.history.generate import Traffic
from tierproxy.history.traffic_model import model_for
from tierproxy.trace import Op
from tierproxy.traffic import EventKind, Reason
from tierproxy.whatif.requests import READ, Requests

OPS = {EventKind.READ: Op.READ, EventKind.WRITE: Op.WRITE, EventKind.DELETE: Op.DELETE}


def requests(
    numbers: Sequence[int], sizes: Sequence[int] | None = None, kinds: Sequence[int] | None = None
) -> Requests:
    """One a second. ``sizes``: by object, None: all are 1. ``kinds``: None, all are reads."""
    objects = len(sizes) if sizes else max(numbers, default=0) + 1
    given = bytes(len(numbers)) if kinds is None else bytes(kinds)
    of = sizes or [1] * objects
    return Requests(given, array("I", numbers), array("q", (of[one] for one in numbers)), _seconds(given), objects)


def _seconds(kinds: bytes) -> array[float]:
    return array("d", range(len(kinds)))


@cache
def zipf(count: int, objects: int, alpha: float, *, sizes: bool, seed: int = 1) -> Requests:
    """Independent reads. ``sizes``: log-normal ones, as mail has; else all are 1."""
    draw = random.Random(seed)
    weights = list(accumulate(1 / (rank + 1) ** alpha for rank in range(objects)))
    names = list(range(objects))
    draw.shuffle(names)
    of = [int(draw.lognormvariate(9, 1.5)) + 200 if sizes else 1 for _ in range(objects)]
    return requests([names[rank] for rank in draw.choices(range(objects), cum_weights=weights, k=count)], of)


@cache
def mail(*, sizes: bool, owners: int = 20, days: int = 25) -> Requests:
    """Writes, deletes and people's reads of the model "office"."""
    numbers: dict[str, int] = {}
    model = model_for("office", owners=owners)
    events = [
        event
        for event in Traffic(model, days=days, seed=3).events()
        if event.kind is not EventKind.READ or (event.reason == Reason.PERSON and event.first)
    ]
    objects = array("I", (numbers.setdefault(event.name.key, len(numbers)) for event in events))
    kinds = bytes(OPS[event.kind] for event in events)
    return Requests(
        kinds,
        objects,
        array("q", ((event.size if sizes else 1) for event in events)),
        array("d", (event.at for event in events)),
        len(numbers),
    )


def only_reads(of: Requests) -> Requests:
    wanted = [kind == READ for kind in of.kinds]
    numbers, sizes = (array(of_.typecode, compress(of_, wanted)) for of_ in (of.numbers, of.sizes))
    return Requests(bytes(len(numbers)), numbers, sizes, array("d", compress(of.at, wanted)), of.objects)


def stored(of: Requests) -> int:
    """Bytes of all objects together."""
    return sum(dict(zip(of.numbers, of.sizes, strict=True)).values())


@st.composite
def small(
    draw: st.DrawFn, *, objects: int = 5, events: int = 30, largest: int = 1, reads_only: bool = False
) -> Requests:
    """A few events of a few objects of up to ``largest`` bytes."""
    sizes = draw(st.lists(st.integers(1, largest), min_size=objects, max_size=objects))
    kind = st.just(READ) if reads_only else st.sampled_from((0, 0, 0, 1, 2))
    lines = draw(st.lists(st.tuples(st.integers(0, objects - 1), kind), max_size=events))
    return requests([number for number, _ in lines], sizes, [kind for _, kind in lines])
