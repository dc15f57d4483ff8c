"""Who reads, and what went out: the visitor the store is told of, and its deliveries."""

from __future__ import annotations

import pytest

from tierproxy.errors import AltUnavailable
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Ending
from tierproxy.traffic import Reason, Visitor

from .test_app_reading import MAIL, serve


def deliveries(store: MemoryStore) -> list[tuple[str, int]]:
    return [(key, sent) for key, _, sent, _ in store.deliveries]


async def test_a_get_carries_everything_it_says_of_itself() -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    told = {
        "user-agent": "dovecot", "x-tierproxy-reason": "Backup", "x-tierproxy-owner": "änn",
        "x-tierproxy-folder": "INBOX",
    }  # fmt: skip
    answer = await serve(store).get("/mail/1", told)
    assert answer.status == 200
    (visitor,) = store.visitors
    assert visitor.client.startswith("@")
    assert visitor == Visitor(visitor.client, "", "dovecot", Reason.BACKUP, "änn", "INBOX")
    assert store.deliveries[0][1] is visitor


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-tierproxy-reason", "robot"), ("x-tierproxy-reason", ""), ("x-tierproxy-owner", "a" * 256),
        ("x-tierproxy-owner", "a\tb"), ("x-tierproxy-folder", "a\u200bb"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["get", "put"])
async def test_what_cannot_be_right_is_400_and_nothing_happens(header: str, value: str, method: str) -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    probe = serve(store)
    answer = await (
        probe.get("/mail/1", {header: value}) if method == "get" else probe.put("/mail/2", b"x", {header: value})
    )
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert header in (answer.text("Message") or "")
    assert not store.deliveries
    assert not store.writes


async def test_an_unknown_reason_is_told_the_ones_there_are() -> None:
    answer = await serve(MemoryStore()).get("/mail/1", {"x-tierproxy-reason": "x"})
    assert "person, scan, prefetch, index, backup" in (answer.text("Message") or "")


async def test_owner_and_folder_go_with_a_write_and_not_into_what_is_stored() -> None:
    store = MemoryStore()
    named = {"x-tierproxy-owner": "ann", "x-tierproxy-folder": "Sent", "x-amz-meta-a": "b"}
    await serve(store).put("/mail/1", MAIL, named)
    assert (store.writes[0].visitor.owner, store.writes[0].visitor.folder) == ("ann", "Sent")
    assert store.writes[0].headers.metadata == {"a": "b"}
    await serve(store).post("/mail/2?uploads", b"", named)
    assert store.visitors[-1].owner == "ann"
    await serve(store).put("/mail/3", b"", {"x-amz-copy-source": "mail/1", "x-tierproxy-owner": "bob"})
    assert store.visitors[-1].owner == "bob"
    assert store.objects[("mail", "1")][0].headers == store.writes[0].headers  # type: ignore[index]


@pytest.mark.parametrize("chunk", [0, 10])
async def test_what_went_out_is_delivered_whole_or_in_part(chunk: int) -> None:
    store = MemoryStore(chunk=chunk)
    store.put("1", MAIL)
    store.put("empty", b"")
    probe = serve(store)
    await probe.get("/mail/1")
    await probe.get("/mail/1", {"range": "bytes=2-5"})
    await probe.get("/mail/empty")
    assert deliveries(store) == [("1", len(MAIL)), ("1", 4), ("empty", 0)]
    assert all(seconds >= 0 for *_, seconds in store.deliveries)


async def test_heads_304_and_refusals_deliver_nothing() -> None:
    store = MemoryStore()
    etag = store.put("1", MAIL).etag
    probe = serve(store)
    assert (await probe.head("/mail/1")).status == 200
    assert (await probe.get("/mail/1", {"if-none-match": f'"{etag}"'})).status == 304
    assert (await probe.get("/mail/1", {"range": "bytes=99-"})).status == 416
    assert (await probe.get("/mail/none")).status == 404
    assert deliveries(store) == []


async def test_an_answer_cut_off_in_the_middle_delivered_what_had_gone_out() -> None:
    store = MemoryStore(chunk=10, break_at=20, break_with=AltUnavailable("gone"))
    store.put("1", MAIL)
    answer = await serve(store).get("/mail/1")
    assert answer.ending is Ending.CUT
    assert deliveries(store) == [("1", 20)]


async def test_a_stream_that_breaks_before_its_first_byte_delivered_nothing() -> None:
    store = MemoryStore(chunk=10, break_at=0, break_with=AltUnavailable("gone"))
    store.put("1", MAIL)
    assert (await serve(store).get("/mail/1")).status == 503
    assert deliveries(store) == []


async def test_headers_given_twice_are_refused() -> None:
    from tierproxy.s3api.faults import S3Error
    from tierproxy.s3api.request import Request

    twice = [(b"x-tierproxy-reason", b"scan"), (b"x-tierproxy-reason", b"person")]
    with pytest.raises(S3Error):
        Request("GET", b"/mail/1", b"", twice)
