"""What every plan reads: the rows of a scope, which of them may go, and the pages they are read in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tierproxy.catalogue.compile import LIVE, SHADOW, Columns, Sql, all_of, decider
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.listing import BEYOND, just_after, string_after_prefix
from tierproxy.model import ObjectName
from tierproxy.purges import Scope
from tierproxy.rules.model import PURGING, ActionKind

START = ObjectName("", "")
SHADOWED = "entry CROSS JOIN shadow ON shadow.bucket = entry.bucket AND shadow.key = entry.key"


@dataclass(frozen=True, slots=True)
class Span:
    """Names of a bucket ("": of all) that begin with ``prefix``, after ``after``, up to and with ``last``."""

    bucket: str = ""
    prefix: str = ""
    after: ObjectName = START
    last: ObjectName | None = None

    def sql(self, table: str = "entry") -> Sql:
        """As bounds of the primary key: a page begins where the one before ended, however far that is."""
        return self._in_bucket(table) if self.bucket else self._anywhere(table)

    def _in_bucket(self, table: str) -> Sql:
        start: str | bytes = self.prefix
        if self.after.bucket >= self.bucket:
            start = max(self.prefix, just_after(self.after.key)) if self.after.bucket == self.bucket else BEYOND
        stop: str | bytes = string_after_prefix(self.prefix) or BEYOND
        if self.last is not None:
            stop = just_after(self.last.key)
        text = f"({table}.bucket = ? AND {table}.key >= ? AND {table}.key < ?)"
        return Sql(text, (self.bucket, start, stop))

    def _anywhere(self, table: str) -> Sql:
        parts = [Sql(f"({table}.bucket, {table}.key) > (?, ?)", self.after)]
        if self.last is not None:
            parts.append(Sql(f"({table}.bucket, {table}.key) <= (?, ?)", self.last))
        if self.prefix:
            stop = string_after_prefix(self.prefix) or BEYOND
            parts.append(Sql(f"{table}.key >= ? AND {table}.key < ?", (self.prefix, stop)))
        return all_of(parts)


def pages(reads: Reads, span: Span, rows: int, table: str = "entry") -> Iterator[Span]:
    """``span`` in pieces of at most ``rows`` rows of ``table``, whose primary key begins with bucket and key. A GROUP
    BY of a piece is sorted in little memory, and faster than one of all rows."""
    after = span.after
    while True:
        where = Span(span.bucket, span.prefix, after).sql(table)
        sql = f"SELECT bucket, key FROM {table} WHERE {where.text} ORDER BY bucket, key LIMIT 1 OFFSET ?"
        end = reads.row(sql, *where.values, rows - 1)
        if end is None:
            yield Span(span.bucket, span.prefix, after)
            return
        last = ObjectName(*end)
        yield Span(span.bucket, span.prefix, after, last)
        after = last


@dataclass(frozen=True, slots=True)
class Ground:
    """A scope as SQL. ``decider``: the deciding rule; ``purging``, ``keeping``, ``pinning``: rules by what they do."""

    scope: Scope
    columns: Columns = field(init=False)
    decider: Sql = field(init=False)
    purging: tuple[int, ...] = field(init=False)
    keeping: tuple[int, ...] = field(init=False)
    pinning: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        columns = SHADOW if self.scope.shadow else LIVE
        facts = {
            "columns": columns,
            "decider": decider(self.scope.rules, self.scope.now, columns),
            "purging": self._rules(*PURGING),
            "keeping": self._rules(ActionKind.KEEP),
            "pinning": self._rules(ActionKind.PIN),
        }
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    @property
    def source(self) -> str:
        return SHADOWED if self.scope.shadow else "entry"

    @property
    def span(self) -> Span:
        return Span(self.scope.bucket, self.scope.prefix)

    @property
    def clean(self) -> Sql:
        """Blobs that alt has too. Word for word the condition of the indexes entry_victim and entry_queue."""
        return Sql(f"entry.state = 'clean' AND {self.columns.present}")

    @property
    def pinned(self) -> Sql:
        """By a command."""
        return Sql("coalesce(entry.pinned_until > ?, 0)", (self.scope.now,))

    @property
    def young(self) -> Sql:
        """Either way: what was stored while the clock ran far ahead is not young until then."""
        least = self.scope.rules.budget.min_on_disk
        return Sql(f"coalesce(abs(? - {self.columns.stored_at}) < ?, 0)", (float(self.scope.now), least))

    @property
    def candidates(self) -> Sql:
        """Those that may go, but for the pins of rules."""
        pinned, young = self.pinned, self.young
        return all_of([self.clean, Sql(f"NOT {pinned.text}", pinned.values), Sql(f"NOT {young.text}", young.values)])

    def chosen(self, rules: tuple[int, ...], undecided: bool = False) -> str:
        """Whether ``rule`` (the decider's alias) is one of ``rules``, or (``undecided``) NULL; and of the scope."""
        if self.scope.rule is not None:
            return f"rule = {int(self.scope.rule)}" if self.scope.rule in rules else "0"
        listed = f"rule IN ({', '.join(map(str, rules))})"
        return f"(rule IS NULL OR {listed})" if undecided else listed

    def _rules(self, *kinds: ActionKind) -> tuple[int, ...]:
        rules = enumerate(self.scope.rules.rules)
        return tuple(index for index, rule in rules if rule.then is not None and rule.then.kind in kinds)
