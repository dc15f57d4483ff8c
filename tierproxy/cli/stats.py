"""``tierproxy stats``: how often mails are read, what lives on disk, what the rules hold, removed and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from tierproxy.catalogue import CatalogueReader, open_reader
from tierproxy.cli.inforce import Source, Waters, in_force
from tierproxy.cli.inforce import waters as measured
from tierproxy.cli.outcome import out
from tierproxy.cli.settings import AsJson, ConfigFile, calmly, configuration, data_directory, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bar, bytes_text, count_text, share_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.errors import NoSuchBucket
from tierproxy.purges import RULE, RuleRecord, Scope, Survey
from tierproxy.stats import READ_CLASSES, Breakdown, StatsRow, StatsTable
from tierproxy.traffic import DAY, Rollup

HOUR = 3600
SPANS = (("hour", 60, HOUR), ("day", HOUR, DAY), ("week", HOUR, 7 * DAY))
"""Label, span of the rollups looked at, seconds back."""
SOON = ("< 1h", "< 1d", "< 7d", "< 30d", "later")


def stats(
    by: Annotated[Breakdown, typer.Option("--by", help="What the rows are.")] = Breakdown.AGE,
    bucket: Annotated[str, typer.Option(help="Only this bucket; empty for all.")] = "",
    days: Annotated[int, typer.Option(min=1, help="--by rule: removed and regretted in so many days.")] = 30,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Rows to show; 0 for all.")] = 30,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """How many mails were read 0, 1, 2, 3-5, 6+ times, by age; or by owner, folder, rule or day of reading."""
    found, now = configuration(config), SystemClock().now()
    with open_reader(data_directory(found)) as catalogue:
        if bucket and catalogue.bucket(bucket) is None:
            raise NoSuchBucket(f"there is no bucket {bucket!r}")
        if by is Breakdown.RULE:
            rules = in_force(found, catalogue)
            survey = calmly(lambda: catalogue.survey(Scope(rules.rules, now, bucket)))
            held = Held(rules, survey, {one.by: one for one in catalogue.records(int(now // DAY) - days)}, days)
            show_rules(held, as_json)
            return
        counted = calmly(lambda: catalogue.stats(by, bucket=bucket, now=now))
        overview = Overview.of(found, catalogue, now)
    if as_json:
        print_json(_document(counted, overview, bucket))
        return
    _print(counted, overview, limit)


# ------------------------------------------------------------ reads


@dataclass(frozen=True, slots=True)
class Hits:
    """Gets of a time, and those served from memory or disk."""

    gets: int
    hits: int

    @property
    def ratio(self) -> float | None:
        """0 to 1; None without gets."""
        return self.hits / self.gets if self.gets else None


@dataclass(frozen=True, slots=True)
class PeoplesHits:
    """Reads by people in a time, and those whose first bytes came from memory or disk."""

    reads: int
    hits: int

    @property
    def ratio(self) -> float | None:
        """0 to 1; None without reads."""
        return self.hits / self.reads if self.reads else None


@dataclass(frozen=True, slots=True)
class Overview:
    """Of the whole node, whatever the table is confined to."""

    disk: Waters
    people: dict[str, PeoplesHits]
    hits: dict[str, Hits]

    @staticmethod
    def of(config: Config, catalogue: CatalogueReader, now: float) -> Overview:
        grown = {label: catalogue.rollups(span, now - back, now + span) for label, span, back in SPANS}
        people = {label: _peoples_hits(rollups) for label, rollups in grown.items()}
        hits = {label: _hits(rollups) for label, rollups in grown.items()}
        return Overview(measured(config, in_force(config, catalogue).rules, catalogue), people, hits)

    def as_dict(self) -> dict[str, Any]:
        people = {label: asdict(one) | {"ratio": one.ratio} for label, one in self.people.items()}
        hits = {label: asdict(one) | {"ratio": one.ratio} for label, one in self.hits.items()}
        budgets = {
            bucket: {"used": self.disk.claimed(bucket), "max_bytes": most} for bucket, most in self.disk.budgets.items()
        }
        return {"disk": self.disk.as_dict(), "bucket_budgets": budgets, "people": people, "hits": hits}


def _peoples_hits(rollups: Sequence[Rollup]) -> PeoplesHits:
    """By the formulas of ``tierproxy.store.counters``. A scan may be recognised in the minute after its first reads, so
    a short time may have more corrections than reads."""
    grown: Counter[str] = Counter()
    for rollup in rollups:
        grown.update(rollup.counters)
    hits = max(0, grown["reads.person.hits"] - grown["reads.corrected.hits"])
    return PeoplesHits(hits + max(0, grown["reads.person.misses"] - grown["reads.corrected.misses"]), hits)


def _hits(rollups: Sequence[Rollup]) -> Hits:
    """By the formulas of ``tierproxy.store.counters``: gets = hits + misses, all below ``gets.``."""
    gets = [one for rollup in rollups for one in rollup.counters.items() if one[0].startswith("gets.")]
    return Hits(sum(value for _, value in gets), sum(value for name, value in gets if name.startswith("gets.hits.")))


def _document(counted: StatsTable, overview: Overview, bucket: str) -> dict[str, Any]:
    return {
        "by": str(counted.by),
        "bucket": bucket or None,
        "read_classes": READ_CLASSES,
        "rows": [asdict(row) for row in counted.rows],
        "total": asdict(counted.total),
        **overview.as_dict(),
    }


def _print(counted: StatsTable, overview: Overview, limit: int) -> None:
    shown = counted.rows[:limit] if limit else counted.rows
    screen, total = console(), counted.total
    if counted.by is Breakdown.DAY:
        screen.print(_by_day(shown if not limit else counted.rows[-limit:], total))
    else:
        screen.print(_by_reads(counted.by, shown, total))
    if len(shown) < len(counted.rows):
        screen.print(f"{len(counted.rows) - len(shown)} more rows: --limit 0 shows all")
    if counted.by is Breakdown.AGE:
        screen.print(_question(total))
    for line in _sentences(total, overview) if counted.by is not Breakdown.DAY else _hit_lines(overview):
        out().print(line, markup=False)


def _by_reads(by: Breakdown, rows: Sequence[StatsRow], total: StatsRow) -> Table:
    made = table([str(by)], ["objects", "bytes", "on disk", *(f"{name} reads" for name in READ_CLASSES)])
    made = table([str(by)], ["objects", "bytes", "on disk", *READ_CLASSES], title="Read by people, times:")
    lines = [_reads_line(row, row.label or "(not known)") for row in rows]
    return filled(made, [*lines, _reads_line(total, "all")])


def _reads_line(row: StatsRow, label: str) -> list[str]:
    shares = [share_text(count, row.objects) for count in row.by_reads]
    return [label, count_text(row.objects), bytes_text(row.bytes), bytes_text(row.disk_bytes), *shares]


def _question(total: StatsRow) -> Table:
    """The seed's question, answered once over all ages."""
    made = table(["times read"], ["objects", "share"], title="How many mails were read how often:")
    made.add_column("")
    parts = zip(READ_CLASSES, total.by_reads, strict=True)
    return filled(
        made,
        (
            [name, count_text(count), share_text(count, total.objects), bar(count, total.objects)]
            for name, count in parts
        ),
    )


def _by_day(rows: Sequence[StatsRow], total: StatsRow) -> Table:
    most = max((row.reads for row in rows), default=0)
    made = table(["day"], ["objects read", "by people", "by machines"], title="Reads by day (UTC):")
    made.add_column("")
    lines = [[*_day_line(row), bar(row.reads, most)] for row in rows]
    return filled(made, [*lines, ["all", *_day_line(total)[1:], ""]])


def _day_line(row: StatsRow) -> list[str]:
    return [row.label, count_text(row.objects), count_text(row.reads), count_text(row.machine_reads)]


def _sentences(total: StatsRow, overview: Overview) -> Iterator[str]:
    disk = overview.disk.as_dict()
    yield f"objects   {count_text(total.objects)} with {bytes_text(total.bytes)}"
    yield f"on disk   {count_text(total.disk_objects)} with {bytes_text(total.disk_bytes)}"
    used, most = disk["used"], disk["max_bytes"]
    waters = f"pressure from {bytes_text(disk['high'])} down to {bytes_text(disk['low'])}"
    yield f"budget    {share_text(used, most)} of {bytes_text(most)} used; {waters}"
    for bucket, part in overview.disk.budgets.items():
        taken = share_text(overview.disk.claimed(bucket), part)
        yield f"          bucket {bucket}: {taken} of {bytes_text(part)} used"
    yield f"reads     {count_text(total.reads)} by people, {count_text(total.machine_reads)} by machines"
    yield from _hit_lines(overview)


def _hit_lines(overview: Overview) -> Iterator[str]:
    """People's first: what machines get says nothing of how mail is served."""
    people = {label: (one.hits, one.reads) for label, one in overview.people.items()}
    yield f"hits      people: {_of_times(people)} reads"
    yield f"          all:    {_of_times({label: (one.hits, one.gets) for label, one in overview.hits.items()})} gets"


def _of_times(shares: dict[str, tuple[int, int]]) -> str:
    return ", ".join(
        f"{label} {share_text(hits, all_)} of {count_text(all_)}" for label, (hits, all_) in shares.items()
    )


# ------------------------------------------------------------ rules


@dataclass(frozen=True, slots=True)
class Held:
    """What each rule decides now, and what each reason removed and cost within ``days``."""

    source: Source
    survey: Survey
    records: dict[str, RuleRecord]
    days: int

    def names(self) -> Iterator[tuple[int | None, str, str]]:
        """(index, name, what it does) of each rule and of what none decides."""
        for index, rule in enumerate(self.source.rules.rules):
            yield index, rule.name, str(rule.then.kind) if rule.then else "policy"
        yield None, "(undecided)", "pressure"


def show_rules(held: Held, as_json: bool) -> None:
    """Also `rules show`."""
    if as_json:
        print_json(rules_document(held))
        return
    screen = console()
    screen.print(f"rules: {held.source.about}", markup=False)
    screen.print(held_table(held))
    if held.records:
        screen.print(removed_table(held.records.values(), f"Removed, and read again, in {held.days} days:"))
    else:
        screen.print(f"nothing was removed in {held.days} days")


def rules_document(held: Held) -> dict[str, Any]:
    """For --json."""
    rules = [
        {"rule": name if index is not None else None, "then": then} | _count(held.survey, index)
        for index, name, then in held.names()
    ]
    return {
        "version": held.source.force.number,
        "rules": rules,
        "dirty": _pair(held.survey.dirty), "pinned": _pair(held.survey.pinned), "young": _pair(held.survey.young),
        "days": held.days,
        "removed": [asdict(record) for record in held.records.values()],
    }  # fmt: skip


def _count(survey: Survey, index: int | None) -> dict[str, int]:
    count = asdict(survey.of(index))
    del count["rule"]
    return count


def _pair(pair: tuple[int, int]) -> dict[str, int]:
    return {"objects": pair[0], "bytes": pair[1]}


def held_table(held: Held) -> Table:
    """A row per rule, then what no rule may touch."""
    made = table(
        ["rule", "does"], ["objects", "bytes", "reads 7d", "30d"], title="On disk now, by the rule that decides:"
    )
    lines = []
    for index, name, then in held.names():
        count = held.survey.of(index)
        figures = [count_text(count.objects), bytes_text(count.bytes), count_text(count.reads_7d)]
        lines.append([name, then, *figures, count_text(count.reads_30d)])
    for name, why in (("dirty", "waits for alt"), ("pinned", "stays"), ("young", "stays")):
        objects, size = getattr(held.survey, name)
        if objects:
            lines.append([f"({name})", why, count_text(objects), bytes_text(size), "", ""])
    return filled(made, lines)


def removed_table(records: Iterable[RuleRecord], title: str) -> Table:
    """What was removed, by reason, and how soon people wanted it back."""
    made = table(["by"], ["objects", "bytes", "regrets", *SOON], title=title)
    return filled(made, [_record_line(record) for record in records])


def reason_text(by: str) -> str:
    """A rule by its name; what is no rule in brackets."""
    return by.removeprefix(RULE) if by.startswith(RULE) else f"({by})"


def _record_line(record: RuleRecord) -> list[str]:
    share = f"{count_text(record.regrets)} {share_text(record.regrets, record.objects)}"
    sums = [count_text(record.objects), bytes_text(record.bytes), share]
    return [reason_text(record.by), *sums, *map(count_text, record.soon)]
