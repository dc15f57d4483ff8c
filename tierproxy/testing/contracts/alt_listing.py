"""What every alt tier promises of its listings."""

from __future__ import annotations

from tierproxy.model import ListRequest
from tierproxy.testing.contracts.alt_rig import Promise, Rig


async def a_listing_pages_through_everything_once(rig: Rig) -> None:
    keys = [f"o/{name}" for name in ("a/1", "a/2", "a-b", "a.b", "b", "B", "c/d/e", "é", "z")]
    for key in keys:
        await rig.put(key, b"x")
    for limit in (1, 2, 4, 1000):
        found = await _paged(rig, "o/", "", limit)
        assert sorted(found) == sorted(rig.prefix + key for key in keys), limit
        if rig.byte_order:
            assert found == sorted(found, key=str.encode)


async def a_listing_rolls_up_prefixes_once(rig: Rig) -> None:
    for key in ("o/a/1", "o/a/2", "o/b", "o/c/d/e", "o/c/f", "o/g", "p"):
        await rig.put(key, b"x")
    for limit in (1, 2, 3, 1000):
        found = await _paged(rig, "o/", "/", limit)
        assert found == [rig.prefix + item for item in ("o/a/", "o/b", "o/c/", "o/g")], limit


async def a_listing_tells_size_and_etag(rig: Rig) -> None:
    etag = await rig.put("k", b"hello")
    meta = await rig.alt.head(rig.name("k"))
    page = await rig.alt.page(ListRequest(rig.bucket, rig.prefix))
    (item,) = page.objects
    assert (item.key, item.size, item.etag) == (rig.prefix + "k", 5, etag)
    assert abs(item.modified_at - meta.modified_at) <= 1
    assert (page.prefixes, page.next_after) == ((), None)


async def a_listing_of_nothing_is_empty(rig: Rig) -> None:
    page = await rig.alt.page(ListRequest(rig.bucket, rig.prefix + "none/", delimiter="/"))
    assert (page.objects, page.prefixes, page.next_after) == ((), (), None)


async def _paged(rig: Rig, prefix: str, delimiter: str, limit: int) -> list[str]:
    """Every key and prefix of a listing, each page in byte order."""
    found: list[str] = []
    after: str | None = ""
    for _ in range(100):
        page = await rig.alt.page(ListRequest(rig.bucket, rig.prefix + prefix, delimiter, after or "", limit))
        items = [*(item.key for item in page.objects), *page.prefixes]
        assert len(items) <= limit
        found += sorted(items, key=str.encode)
        if (after := page.next_after) is None:
            return found
    raise AssertionError("the listing does not end")


LISTINGS: tuple[Promise, ...] = (
    a_listing_pages_through_everything_once,
    a_listing_rolls_up_prefixes_once,
    a_listing_tells_size_and_etag,
    a_listing_of_nothing_is_empty,
)
