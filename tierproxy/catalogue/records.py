"""What each reason (``rule:NAME``, pressure, operator) removed, and what people regretted of it, by UTC day.

Of the live rules and, in rows of its own, of the shadow's.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable
from typing import TypeVar

from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.rows import Row
from tierproxy.purges import REGRET_WITHIN, REPAIR, Drop, RuleRecord
from tierproxy.traffic import DAY, Regret

T = TypeVar("T")

REGRET = """INSERT INTO rule_day
        (by, day, shadow, regrets, machine_regrets, seconds, soon_0, soon_1, soon_2, soon_3, soon_4)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (by, day, shadow) DO UPDATE SET
        regrets = regrets + excluded.regrets, machine_regrets = machine_regrets + excluded.machine_regrets,
        seconds = seconds + excluded.seconds, soon_0 = soon_0 + excluded.soon_0, soon_1 = soon_1 + excluded.soon_1,
        soon_2 = soon_2 + excluded.soon_2, soon_3 = soon_3 + excluded.soon_3, soon_4 = soon_4 + excluded.soon_4"""
TAKE_BACK = """UPDATE rule_day SET regrets = max(regrets - 1, 0), machine_regrets = machine_regrets + 1,
        seconds = max(seconds - ?, 0), soon_0 = max(soon_0 - ?, 0), soon_1 = max(soon_1 - ?, 0),
        soon_2 = max(soon_2 - ?, 0), soon_3 = max(soon_3 - ?, 0), soon_4 = max(soon_4 - ?, 0)
    WHERE by = ? AND day = ? AND shadow = ? AND regrets > 0"""
REMOVAL = """INSERT INTO rule_day (by, day, shadow, objects, bytes) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (by, day, shadow) DO UPDATE SET objects = objects + excluded.objects, bytes = bytes + excluded.bytes"""
RECORDS = """SELECT by, sum(objects), sum(bytes), sum(regrets), sum(machine_regrets), sum(seconds),
        sum(soon_0), sum(soon_1), sum(soon_2), sum(soon_3), sum(soon_4)
    FROM rule_day WHERE day >= ? AND shadow = ? GROUP BY by ORDER BY by"""


def records(reads: Reads, since_day: int, *, shadow: bool = False) -> list[RuleRecord]:
    """What each reason removed and what people regretted of it, of the live rules or the shadow's."""
    return [_record(*row) for row in reads.rows(RECORDS, since_day, shadow)]


def book_removals(connection: sqlite3.Connection, drops: Iterable[Drop], at: float, *, shadow: bool = False) -> None:
    """``drops`` have happened at ``at``."""
    sums = summed((drop.by, drop.blob_bytes) for drop in drops)
    rows = [(by, int(at // DAY), shadow, objects, size) for by, (objects, size) in sums.items()]
    connection.executemany(REMOVAL, rows)


def summed(sizes: Iterable[tuple[T, int]]) -> dict[T, tuple[int, int]]:
    """How many, and how many bytes, of each."""
    sums: dict[T, tuple[int, int]] = {}
    for what, size in sizes:
        objects, total = sums.get(what, (0, 0))
        sums[what] = objects + 1, total + size
    return sums


def book_regrets(connection: sqlite3.Connection, regrets: Iterable[Regret], *, shadow: bool = False) -> None:
    """By reason and day of the read. The repair of a damaged blob is no purge: nobody decided it. Those to be corrected
    come after all others: what is corrected may be of the same flush."""
    booked = [regret for regret in regrets if regret.by != REPAIR]
    connection.executemany(REGRET, [_regret_row(regret, shadow) for regret in booked if not regret.corrected])
    connection.executemany(TAKE_BACK, [_taken_back(regret, shadow) for regret in booked if regret.corrected])


def _record(
    by: str, objects: int, size: int, regrets: int, machine_regrets: int, seconds: float, *soon: int
) -> RuleRecord:
    return RuleRecord(by, objects, size, regrets, machine_regrets, seconds, soon)


def _regret_row(regret: Regret, shadow: bool) -> Row:
    """The values of ``REGRET``. How soon, and the seconds, are told of people's regrets only."""
    person = not regret.machine
    soon = _soon(regret) if person else [0] * (len(REGRET_WITHIN) + 1)
    seconds = regret.seconds if person else 0.0
    return (regret.by, int(regret.at // DAY), shadow, int(person), int(regret.machine), seconds, *soon)


def _taken_back(regret: Regret, shadow: bool) -> Row:
    """The values of ``TAKE_BACK``."""
    return (regret.seconds, *_soon(regret), regret.by, int(regret.at // DAY), shadow)


def _soon(regret: Regret) -> list[int]:
    soon = [0] * (len(REGRET_WITHIN) + 1)
    soon[bisect_left(REGRET_WITHIN, regret.seconds)] = 1
    return soon
