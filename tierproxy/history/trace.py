"""History as a ``tierproxy.trace.Trace``: what simulations replay.

What came from a stub is left out: it asked for no body, cost nothing on alt, and counted as no read.

Files are read run by run as columns. The texts of an object (bucket, key, owner, folder) are kept once, not once an
event; what is left of an event is 30 bytes. Objects get their numbers in the order in which they first occur.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from tierproxy.history.reading import History, open_history
from tierproxy.history.rows import MICROSECONDS
from tierproxy.trace import HIT, LATER, MACHINE, PREFETCH, REGRET, Objects, Op, Trace
from tierproxy.traffic import HITS, EventKind, Outcome, Reason

ROWS = 2**18
"""Events between two words about progress."""
NAMES = ("bucket", "key", "owner", "folder")
OPS: Final = {
    EventKind.READ: Op.READ,
    EventKind.WRITE: Op.WRITE,
    EventKind.DELETE: Op.DELETE,
    EventKind.PURGE: Op.PURGE,
}
_READ = ("at", "kind", "object", "size", "sent", "outcome", "reason", "by", "first", *NAMES)


def load(
    history: History | Iterable[Path], since: float | None = None, until: float | None = None, *,
    buckets: Sequence[str] = (), key: str = "*", progress: Callable[[int], None] = lambda done: None,
) -> Trace:  # fmt: skip
    """Events with ``since <= at < until`` (seconds since the epoch). ``history``: or places as ``open_history`` takes
    them. ``buckets``: of these only, none given: of all. ``key``: a shell pattern for keys. ``progress`` is told how
    many events were read. Files that are damaged are in ``history.skipped``. Raises TierproxyError when a place is not
    there."""
    found = history if isinstance(history, History) else open_history(*history)
    columns: list[pl.DataFrame] = []
    names: list[pl.DataFrame] = []
    done = 0
    for batch in found.batches(since, until, where=_where(buckets, key), columns=_READ, size=ROWS):
        columns.append(_numbers(batch))
        names.append(_names(batch))
        if len(names) > 16:
            names = [_known(names)]
        done += batch.height
        progress(done)
    return _trace(columns, _known(names)) if columns else _EMPTY


_EMPTY = Trace(array("d"), b"", b"", array("I"), array("q"), array("q"), Objects())


def _where(buckets: Sequence[str], key: str) -> pl.Expr:
    chosen = pl.col("outcome").cast(pl.String) != Outcome.STUB.value
    if buckets:
        chosen &= pl.col("bucket").cast(pl.String).is_in(list(buckets))
    if key != "*":
        chosen &= pl.col("key").str.contains(_pattern(key))
    return chosen


def _pattern(shell: str) -> str:
    """A shell pattern as a regular expression of polars, which has no look-around as ``fnmatch`` uses."""
    return "(?s)^" + "".join(_piece(piece) for piece in re.split(r"(\*|\?|\[!?\]?[^\]]*\])", shell)) + "$"


def _piece(piece: str) -> str:
    if piece in {"*", "?"}:
        return "." + piece.strip("?")
    if len(piece) < 3 or piece[0] != "[":
        return re.escape(piece)
    negated = "^" if piece[1] == "!" else ""
    return "[" + negated + re.sub(r"([\[\]\\&~^])", r"\\\1", piece[1 + len(negated) : -1]) + "]"


def _numbers(batch: pl.DataFrame) -> pl.DataFrame:
    """What of an event is numbers."""
    read = pl.col("kind") == EventKind.READ
    machine = read & (pl.col("reason") != Reason.PERSON) & (pl.col("reason") != "")
    flags = {
        MACHINE: machine,
        LATER: read & ~pl.col("first"),
        HIT: read & pl.col("outcome").cast(pl.String).is_in(sorted(HITS)),
        REGRET: read & (pl.col("by") != ""),
        PREFETCH: read & (pl.col("reason") == Reason.PREFETCH),
    }
    return batch.select(
        (pl.col("at").dt.epoch("us") / MICROSECONDS).alias("at"),
        pl.col("kind").cast(pl.String).replace_strict(OPS, return_dtype=pl.UInt8).alias("op"),
        pl.sum_horizontal(true.cast(pl.UInt8) * bit for bit, true in flags.items()).cast(pl.UInt8).alias("flags"),
        "object",
        "size",
        "sent",
    )


def _names(batch: pl.DataFrame) -> pl.DataFrame:
    """Each object once, in the order of the first event; largest ``size`` or ``sent``, as a log may say neither or only
    what went out."""
    texts = batch.select(
        "object",
        *(pl.col(name).cast(pl.String) for name in NAMES),
        pl.max_horizontal("size", "sent").alias("largest"),
    )
    return _once(texts)


def _known(names: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return _once(pl.concat(names))


def _once(texts: pl.DataFrame) -> pl.DataFrame:
    """The owner and folder said last, of those that said any."""
    last = (pl.col(name).filter(pl.col(name) != "").last().fill_null("") for name in ("owner", "folder"))
    return texts.group_by("object", maintain_order=True).agg(
        pl.col("bucket").first(), pl.col("key").first(), *last, pl.col("largest").max()
    )


def _trace(columns: Sequence[pl.DataFrame], names: pl.DataFrame) -> Trace:
    """Object numbers instead of hashes, part by part: texts and lists are never there of all events at once."""
    at, object_, size, sent = array("d"), array("I"), array("q"), array("q")
    op, flags = bytearray(), bytearray()
    numbered = names.select("object", "largest").with_row_index("number")
    for part in columns:
        joined = part.join(numbered, on="object", how="left", maintain_order="left")
        at.extend(_list(joined, "at"))
        op.extend(_list(joined, "op"))
        flags.extend(_list(joined, "flags"))
        object_.extend(_list(joined, "number"))
        size.extend(joined.select(pl.when(pl.col("size") > 0).then("size").otherwise("largest")).to_series().to_list())
        sent.extend(_list(joined, "sent"))
    objects = Objects(*(_list(names, name) for name in NAMES))
    return Trace(at, bytes(op), bytes(flags), object_, size, sent, objects)


def _list(frame: pl.DataFrame, name: str) -> list[Any]:
    return frame[name].to_list()
