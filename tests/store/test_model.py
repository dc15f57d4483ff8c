"""Random lives of a node against the reference model.

The same 200 lives every time, so that a red run means a change; with TIERPROXY_MODEL_EXAMPLES that many new ones. No
"explain" phase: on lives as long as these it takes gigabytes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tierproxy.model import Ack, OnAltDown

from .reference import Op
from .trial import Trial

EXAMPLES = int(os.environ.get("TIERPROXY_MODEL_EXAMPLES", "200"))
KEYS = ("a", "b", "d/c")
keys = st.sampled_from(("a", *KEYS))
sizes = st.sampled_from((10, 0, 10, 10, 5000, 300_000, 1_200_000))
acks = st.sampled_from((None, Ack.BOTH, Ack.DISK, Ack.ALT))

puts = st.builds(Op, st.just("put"), keys, sizes, acks)
deletes = st.builds(Op, st.just("delete"), keys)
gets = st.builds(Op, st.just("get"), keys)
huge = st.one_of(
    st.builds(Op, st.just("put"), keys, st.just(9_000_000), st.sampled_from((Ack.ALT, None))),
    st.builds(
        Op, st.just("alt_fault"), other=st.just("put_stream"), number=st.just(1),
        effect=st.sampled_from(("none", "done", "refused")),
    ),
)  # fmt: skip
changes = st.one_of(
    puts,
    puts,
    deletes,
    st.builds(Op, st.just("put_if"), keys, sizes, acks, other=st.sampled_from(("create", "match", "any", "mismatch"))),
    st.builds(Op, st.just("copy"), keys, other=keys, ack=acks),
    st.builds(Op, st.just("multipart"), keys, sizes, acks),
)
reads = st.one_of(
    gets,
    gets,
    st.builds(Op, st.just("get_range"), keys, number=st.sampled_from((0, 5, 4000, 299_500))),
    st.builds(Op, st.just("head"), keys),
    st.builds(Op, st.just("get_corrupt"), keys),
    st.builds(Op, st.just("list"), number=st.sampled_from((0, 1, 2))),
)
weather = st.one_of(
    st.builds(Op, st.just("purge"), st.sampled_from(("", *KEYS))),
    st.builds(Op, st.just("purge")),
    st.builds(Op, st.just("rule_purge")),
    st.builds(Op, st.just("pin"), keys, number=st.integers(0, 1)),
    st.just(Op("alt_down")),
    st.just(Op("alt_up")),
    st.builds(
        Op, st.just("alt_fault"), other=st.sampled_from(("put", "delete")), number=st.integers(1, 3),
        effect=st.sampled_from(("none", "done", "late", "refused")),
    ),
    st.builds(
        Op, st.just("alt_fault"), other=st.sampled_from(("get", "head", "copy")), number=st.integers(1, 2),
        effect=st.sampled_from(("none", "refused")),
    ),
    st.builds(Op, st.just("alt_fault"), other=st.just("copy"), number=st.just(1), effect=st.just("done")),
    st.builds(Op, st.just("cut_body"), number=st.integers(1, 4)),
    st.builds(Op, st.just("disk_fails"), number=st.sampled_from((errno.ENOSPC, errno.EIO))),
    st.just(Op("disk_heals")),
    st.builds(Op, st.just("advance"), number=st.sampled_from((1, 70))),
    st.builds(Op, st.just("wall"), number=st.sampled_from((-90_000, 90_000))),
    st.one_of(st.just(Op("idle")), st.just(Op("idle")), huge),
    st.just(Op("upload")),
    st.just(Op("land")),
)  # fmt: skip
together = st.builds(
    Op, st.just("together"), inner=st.lists(st.one_of(puts, deletes, gets), min_size=2, max_size=3).map(tuple),
    other=st.sampled_from(("", "put", "delete", "get")),
)  # fmt: skip
crashes = st.builds(
    Op, st.just("crash"), inner=st.lists(st.one_of(changes, gets), min_size=0, max_size=1).map(tuple),
    effect=st.sampled_from(("file", "before", "after")), number=st.integers(1, 6),
    cut=st.sampled_from((None, None, 1, 2)),
)  # fmt: skip
ops = st.one_of(changes, changes, changes, reads, reads, weather, weather, together, crashes, st.just(Op("restart")))


# Lists of lists, because a plain list has six elements on average, which is no life.
lives = st.lists(st.lists(ops, min_size=1, max_size=8), min_size=1, max_size=10).map(
    lambda days: [op for day in days for op in day]
)


def live(life: list[Op], on_alt_down: OnAltDown = OnAltDown.QUEUE) -> None:
    """AssertionError if the node ever says what the dictionary forbids."""
    with tempfile.TemporaryDirectory(prefix="tierproxy-model-") as root:
        asyncio.run(Trial(Path(root) / "node", on_alt_down).run(life))


@pytest.mark.slow
@pytest.mark.timeout(0)
@settings(
    max_examples=EXAMPLES, derandomize="TIERPROXY_MODEL_EXAMPLES" not in os.environ, deadline=None, print_blob=True,
    database=None, report_multiple_bugs=False, phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(life=lives, on_alt_down=st.sampled_from(list(OnAltDown)))
def test_whatever_happens_the_node_keeps_its_word(life: list[Op], on_alt_down: OnAltDown) -> None:
    note(f"live({life!r}, {on_alt_down})")
    live(life, on_alt_down)


LIVES: dict[str, tuple[list[Op], OnAltDown]] = {
    "alt sends other bytes of an object that alt was sent in parts": (
        [Op("disk_fails", number=28), Op("put", "a", 9_000_000, Ack.ALT), Op("get_corrupt", "a")], OnAltDown.QUEUE,
    ),
    "alt sends other bytes of an object whose ETag is not an MD5": (
        [Op("multipart", "a", 10), Op("purge"), Op("get_corrupt", "a")], OnAltDown.QUEUE,
    ),
    "a delete after a crash left the bytes of an unacknowledged write in alt": (
        [Op("crash", inner=(Op("put", "a", 10),), effect="before", number=1), Op("get", "a"), Op("delete", "a")],
        OnAltDown.QUEUE,
    ),
    "a delete after an uncertain write of a new object landed": (
        [Op("alt_fault", other="put", number=1, effect="late"), Op("put", "a", 10, Ack.ALT), Op("delete", "a")],
        OnAltDown.QUEUE,
    ),
    "memory after an uncertain overwrite": (
        [
            Op("put", "a", 10), Op("get", "a"), Op("get", "a"), Op("alt_fault", other="put", number=1, effect="late"),
            Op("put", "a", 10), Op("get", "a"), Op("get", "a"),
        ],
        OnAltDown.REFUSE,
    ),
    "a stream of which nobody knows whether it was completed": (
        [
            Op("put", "a", 10), Op("alt_fault", other="put_stream", number=1, effect="done"),
            Op("put", "a", 9_000_000, Ack.ALT), Op("get", "a"),
        ],
        OnAltDown.QUEUE,
    ),
    "the disk fails under a stream": (
        [Op("put", "a", 10), Op("disk_fails", number=errno.EIO), Op("put", "a", 9_000_000), Op("get", "a")],
        OnAltDown.QUEUE,
    ),
    "an uncertain copy": (
        [
            Op("put", "a", 10), Op("put", "b", 10), Op("alt_fault", other="copy", number=1, effect="done"),
            Op("copy", "b", other="a"), Op("get", "b"),
        ],
        OnAltDown.QUEUE,
    ),
    "a write lands after the next one": (
        [
            Op("alt_fault", other="put", number=1, effect="late"), Op("put", "a", 10, Ack.ALT), Op("put", "a", 10),
            Op("idle"), Op("land"), Op("get", "a"),
        ],
        OnAltDown.QUEUE,
    ),
    "a delete lands after the next write, which is a copy": (
        [
            Op("put", "a", 10), Op("put", "b", 10), Op("alt_fault", other="delete", number=1, effect="late"),
            Op("delete", "a"), Op("idle"), Op("copy", "a", other="b"), Op("idle"), Op("land"),
        ],
        OnAltDown.QUEUE,
    ),
    "a write lands after an end in order, and the next one": (
        [
            Op("alt_fault", other="put", number=1, effect="late"), Op("put", "a", 10, Ack.ALT), Op("restart"),
            Op("put", "a", 10), Op("idle"), Op("land"),
        ],
        OnAltDown.QUEUE,
    ),
    "a write lands after a kill, and the next one": (
        [
            Op("alt_fault", other="put", number=1, effect="late"), Op("put", "a", 10, Ack.ALT),
            Op("crash", effect="file", number=1), Op("put", "a", 10), Op("idle"), Op("land"),
        ],
        OnAltDown.QUEUE,
    ),
    "a crash in the middle of an overwrite that alt had taken": (
        [Op("put", "a", 10), Op("crash", inner=(Op("put", "a", 5000),), effect="before", number=2, cut=1)],
        OnAltDown.QUEUE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("story", LIVES)
def test_what_was_found_stays_found(story: str) -> None:
    live(*LIVES[story])
