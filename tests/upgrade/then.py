"""Data directories made by earlier versions, as ``make_data`` packed them."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

from tests.upgrade.make_data import BUCKET, DATA, ERAS, RULES, body_of
from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import HistorySection, PurgeSection, StubsSection
from tierproxy.config.values import Duration
from tierproxy.model import Headers, ObjectName
from tierproxy.testing.faults import BytesSource

NAMES = [era.name for era in ERAS]


class ClockOfThen(SystemClock):
    """Goes on from when the directory was made: nothing in it is too old to be kept."""

    def __init__(self, at: float) -> None:
        self._passed = SystemClock().now() - at

    def now(self) -> float:
        return SystemClock().now() - self._passed


@dataclass(frozen=True)
class Old:
    """``data``: a copy of the directory. ``facts``: what is to be found in it."""

    data: Path
    facts: dict[str, Any]

    @property
    def contents(self) -> dict[str, bytes]:
        """What clients are to be given, by key."""
        sizes: dict[str, int] = self.facts["on_disk"] | self.facts["purged"]
        return {key: body_of(key, size) for key, size in sizes.items()}

    async def alt(self) -> MemoryAlt:
        """What its S3 server held."""
        alt = MemoryAlt()
        for key, size in self.facts["in_alt"].items():
            body = body_of(key, size)
            digest = md5(body, usedforsecurity=False).hexdigest()
            await alt.put(ObjectName(BUCKET, key), BytesSource(body), Headers(), md5=digest)
        return alt

    def options(self) -> dict[str, Any]:
        """Of a rig that uses all there is."""
        rules = self.data.parent / "rules.toml"
        rules.write_text(RULES)
        return {
            "clock": ClockOfThen(self.facts["made_at"]), "history": HistorySection(), "stubs": StubsSection(),
            "purge": PurgeSection(rules=str(rules), watch=Duration(0.1)),
        }  # fmt: skip


def unpacked(name: str, place: Path) -> Old:
    with tarfile.open(DATA / f"{name}.tar.xz") as archive:
        archive.extractall(place, filter="data")
    (place / "data").chmod(0o700)
    return Old(place / "data", json.loads((place / "manifest.json").read_text()))
