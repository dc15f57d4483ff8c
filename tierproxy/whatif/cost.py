"""What a replay costs a month, by a price sheet."""

from __future__ import annotations

from tierproxy.whatif.prices import Prices
from tierproxy.whatif.result import MONTH, AltRequests, Dollars

GB = 1e9


def dollars(prices: Prices, alt: AltRequests, *, seconds: float, max_bytes: int, kept_bytes: float) -> Dollars:
    """Dollars a month of what happened in ``seconds``; nothing of requests when no time passed. ``max_bytes``: the
    disk, which is paid for whether it is full or not; ``kept_bytes``: what alt holds."""
    months = seconds / MONTH
    requests = (
        alt.get * prices.get + alt.put * prices.put + alt.delete * prices.delete + alt.head * prices.head
        + alt.list * prices.list
    ) / 1000  # fmt: skip
    return Dollars(
        requests=requests / months if months else 0.0,
        egress=alt.fetched / GB * prices.egress_gb / months if months else 0.0,
        disk=max_bytes / GB * prices.disk_gb_month,
        stored=kept_bytes / GB * prices.alt_gb_month,
    )
