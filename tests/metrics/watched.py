"""A whole node with its ports, and what a scrape of it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.operators import AdminSection
from tierproxy.config.sections import AltSection, ListenSection
from tierproxy.ports import AltTier, Clock
from tierproxy.testing.rig import Rig, config_for
from tierproxy.wiring import build

LISTEN = ListenSection(address="127.0.0.1:0", auth="none")
NO_CHECK = AltSection(check_at_start=False)


@asynccontextmanager
async def watched(
    root: Path, *, alt: AltTier | None = None, clock: Clock | None = None, **sections: object
) -> AsyncIterator[Rig]:
    """A node as ``tierproxy serve`` builds it, with alt in memory and without an admin port."""
    sections = {"listen": LISTEN, "alt": NO_CHECK, "admin": AdminSection(enabled=False)} | sections
    backend = alt or MemoryAlt()
    node = build(config_for(root / "data", **sections), alt=backend, clock=clock)
    await node.start()
    try:
        yield Rig(node, backend, root / "data")
    finally:
        await node.stop(1)


class Scrape:
    """One page, taken apart. Families by the name that a query says."""

    def __init__(self, page: bytes) -> None:
        self.text = page.decode()
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(self.text):
            total = family.type == "counter" and f"# TYPE {family.name}_total " in self.text
            self.families[f"{family.name}_total" if total else family.name] = family

    def value(self, name: str, **labels: str) -> float:
        """The one sample of that name with these labels."""
        (found,) = self.values(name, **labels)
        return found

    def values(self, name: str, **labels: str) -> list[float]:
        return [value for found, value in self.samples(name) if labels.items() <= found.items()]

    def samples(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and values, of histograms those of ``name_bucket``, ``name_count`` or ``name_sum``."""
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name:
                    yield dict(sample.labels), sample.value


async def scrape(rig: Rig) -> Scrape:
    assert rig.parts.metrics is not None
    page, kind = await rig.parts.metrics.page()
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(page)


PROMETHEUS = ("_bucket", "_count", "_sum")


def family_of(name: str, scraped: Scrape) -> str | None:
    """The family a name in a query belongs to; None: there is no such metric."""
    if name in scraped.families:
        return name
    for ending in PROMETHEUS:
        base = name.removesuffix(ending)
        if base != name and base in scraped.families and scraped.families[base].type == "histogram":
            return base
    return None
