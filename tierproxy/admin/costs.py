"""What the node costs a month, by the price sheet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tierproxy.config.pricesheet import price_sheet
from tierproxy.desk.costs import Usage
from tierproxy.whatif.cost import GB, dollars
from tierproxy.whatif.prices import Prices, parse
from tierproxy.whatif.result import MONTH, AltRequests
from tierproxy.wire.status import CostLine, Costs

LISTED = ("get", "put", "delete", "head", "list")


def priced(config_file: Path | None) -> tuple[Prices, str]:
    """The prices that count, and the name of their sheet. Raises ConfigError for a sheet with a fault."""
    sheet = price_sheet(config_file)
    return parse(sheet.text, file=sheet.name), sheet.name


def costs(usage: Usage, prices: Prices, sheet: str) -> Costs:
    """Lines that add up to the total. ``without_disk``: if every get of a client had gone to alt, and no disk were
    paid for."""
    requests = AltRequests(
        get=usage.alt.get("get", 0), put=usage.alt.get("put", 0) + usage.alt.get("copy", 0),
        delete=usage.alt.get("delete", 0), head=usage.alt.get("head", 0), list=usage.alt.get("list", 0),
        fetched=usage.alt.get("bytes.read", 0), sent=usage.alt.get("bytes.written", 0),
    )  # fmt: skip
    lines = [line for line in _lines(usage, requests, prices) if line.amount or line.dollars]
    bare = replace(requests, get=max(usage.gets, 0), fetched=usage.delivered)
    other = dollars(prices, bare, seconds=usage.seconds, max_bytes=0, kept_bytes=usage.alt_bytes)
    return Costs(
        days=usage.seconds / 86_400, priced=prices.as_of.isoformat(), sheet=sheet, lines=lines,
        total=sum(line.dollars for line in lines),
        without_disk=other.requests + other.egress + other.disk + other.stored,
    )  # fmt: skip


def _lines(usage: Usage, requests: AltRequests, prices: Prices) -> list[CostLine]:
    a_month = MONTH / usage.seconds if usage.seconds else 0.0
    lines = [
        CostLine(
            what=f"{kind} requests", amount=getattr(requests, kind) * a_month, unit="requests a month",
            dollars=getattr(requests, kind) * a_month / 1000 * getattr(prices, kind),
        )
        for kind in LISTED
    ]  # fmt: skip
    fetched = requests.fetched * a_month
    return [
        *lines,
        CostLine(
            what="bytes out of alt", amount=fetched / GB, unit="GB a month", dollars=fetched / GB * prices.egress_gb
        ),
        _kept("kept on alt", usage.alt_bytes, prices.alt_gb_month),
        _kept("disk", usage.disk_budget, prices.disk_gb_month),
    ]


def _kept(what: str, amount: int, price: float) -> CostLine:
    return CostLine(what=what, amount=amount / GB, unit="GB", dollars=amount / GB * price)
