"""Keys that are paths, or tricks, somewhere else: here they are plain names or refused. No file is named after one, and
what alt is asked for is exactly the key that was meant."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.alt.mapping import Place
from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.model import ListRequest, ObjectName
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.testing.probe import Probe
from tierproxy.testing.rig import Rig, rig

PLAIN = (
    "..", ".", "../x", "../../../../etc/passwd", "a/../b", "a/./b", "a//b", "//a", "/a", "a/", "/", "...", "a/..",
    "~root", "%2e%2e", "%2e%2e/x", "%00", "a%2fb", "..%c0%af", "\\..\\x", "C:\\x", "con", "a\nb", "a\rb", "a\tb",
    "\x1b[2J", "\x7f", " a", "a ", "-rf", "--config=x", "*", "?", "#a", "a?b", "a#b", "a&b=c", "<script>", "'\"`$(id)",
    "{{7*7}}", "é", "e\u0301", "\u202egpj.exe", "\u200b", "\ufeffa", "\ufffe", "\ufffd", "日本", "📧", "𝟘", "ﬁ", "K",
    "\u212a", "İ", "ß", "k" * 1024, "é" * 512,
)  # fmt: skip
"""Each is one object, and no two of them are the same."""

NO_KEY: dict[str, bytes] = {
    "zero byte": b"a%00b",
    "zero byte at the end": b"a%00",
    "overlong slash": b"..%c0%afx",
    "overlong point": b"%c0%ae%c0%ae/x",
    "half of a pair": b"%ed%a0%80",
    "a pair in halves": b"%ed%a0%bd%ed%b1%8d",
    "cut character": b"%e6%97",
    "beyond Unicode": b"%f4%90%80%80",
    "Latin-1": b"%e9",
    "no escape": b"%",
    "half an escape": b"a%2",
    "no hex": b"%u0041",
    "too long": b"k" * 1025,
    "too long in bytes": quote("é" * 513).encode(),
}

NO_BUCKET = (
    "..",
    ".",
    "...",
    "a",
    "%2e%2e",
    "ma il",
    "mail%00",
    "MAIL*",
    "é" * 3,
    "-mail",
    "mail-",
    "b" * 256,
    "%2e%2e%2fx",
)

BLOB = re.compile(r"(blobs/[0-9a-f]{2}/[0-9a-f]{2}|staging|parts|quarantine)/[0-9a-f]{32}")


def probe_of(one: Rig) -> Probe:
    listen = ListenSection(auth="none")
    return Probe(ObjectApp(one.parts.store, Open(), listen, SystemClock()))


def path_of(key: str) -> str:
    return f"/mail/{quote(key, safe='')}"


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


async def test_every_trick_is_a_plain_key_and_no_two_are_one(tmp_path: Path) -> None:
    data, beside = tmp_path / "a" / "data", tmp_path / "a" / "x"
    data.mkdir(parents=True)
    beside.write_text("not yours")
    alt = MemoryAlt()
    async with rig(data, alt=alt) as one:
        probe, own = probe_of(one), files(data)
        for number, key in enumerate(PLAIN):
            answer = await probe.put(path_of(key), b"mail %d" % number)
            assert answer.status == 200, (key, answer.body)
        for number, key in enumerate(PLAIN):
            assert (await probe.get(path_of(key))).body == b"mail %d" % number, key
            assert one.row(key) is not None
        await one.drained()
        asked = [name.key for name in alt.names()]
        assert asked == sorted(PLAIN, key=str.encode), "alt was asked for another key"
        grown = files(data) - own
        others = {name for name in grown if not BLOB.fullmatch(name) and not name.startswith("catalogue/")}
        assert others <= {"committed"}
        assert sum(bool(BLOB.fullmatch(name)) for name in grown) == len(PLAIN)
        for key in PLAIN:
            assert (await probe.delete(path_of(key))).status == 204
        assert not [key for key in PLAIN if one.row(key) is not None and one.row(key).state != "deleting"]  # type: ignore[union-attr]
    assert files(tmp_path) - {f"a/data/{name}" for name in files(data)} == {"a/x"}
    assert beside.read_text() == "not yours"


async def test_a_listing_names_them_exactly(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        probe = probe_of(one)
        for key in PLAIN:
            await probe.put(path_of(key), b"x")
        found: list[str] = []
        token = ""
        while True:
            answer = await probe.get(f"/mail?list-type=2&encoding-type=url&max-keys=7{token}")
            found += [unquote(key) for key in answer.texts("Contents/Key")]
            following = answer.text("NextContinuationToken")
            if not following:
                break
            token = f"&continuation-token={quote(following, safe='')}"
        assert found == sorted(PLAIN, key=str.encode)


@pytest.mark.parametrize("what", NO_KEY)
async def test_what_is_no_key_is_refused(tmp_path: Path, what: str) -> None:
    async with rig(tmp_path) as one:
        probe, before = probe_of(one), files(tmp_path)
        target = "/mail/" + NO_KEY[what].decode()
        for method in ("PUT", "GET", "DELETE", "HEAD"):
            answer = await probe.request(method, target, b"x" if method == "PUT" else None)
            assert answer.status == 400, method
        copied = await probe.put("/mail/copy", b"", {"x-amz-copy-source": f"mail/{NO_KEY[what].decode()}"})
        assert copied.status in {400, 404}
        assert files(tmp_path) == before
        assert one.parts.catalogue.queue_totals().jobs == 0


@pytest.mark.parametrize("bucket", NO_BUCKET)
async def test_what_is_no_bucket_is_refused(tmp_path: Path, bucket: str) -> None:
    async with rig(tmp_path) as one:
        probe, before = probe_of(one), files(tmp_path)
        for method, rest in (("PUT", ""), ("PUT", "/a"), ("GET", "/a"), ("GET", ""), ("DELETE", "/a")):
            answer = await probe.request(method, f"/{quote(bucket, safe='%')}{rest}", b"" if method == "PUT" else None)
            assert answer.status in {400, 404, 501}, (method, rest, answer.status)
        assert files(tmp_path) == before


def test_forms_of_one_letter_are_different_keys() -> None:
    """S3 compares bytes. Who sees two that look alike has two."""
    composed, split = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    assert composed != split
    assert {composed, split} <= set(PLAIN)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
    | st.sampled_from(PLAIN),
    st.sampled_from([Place("b"), Place("b", "p/"), Place("b", "../"), Place("b", "é", True), Place("b", "", True)]),
)
def test_the_key_in_alt_says_exactly_which_key_it_is(key: str, place: Place) -> None:
    assert place.client_key(place.key(key)) == key


@pytest.mark.parametrize("key", ["../x", "a\n<b>", "\u202egpj.exe", "</Key><Key>b"])
async def test_an_answer_shows_a_key_as_text_and_nothing_else(tmp_path: Path, key: str) -> None:
    async with rig(tmp_path) as one:
        probe = probe_of(one)
        await probe.put(path_of(key), b"x")
        assert (await probe.get("/mail?list-type=2")).texts("Contents/Key") == [key]
        body = f"<Delete><Object><Key>{key.replace('<', '&lt;').replace('>', '&gt;')}</Key></Object></Delete>"
        assert (await probe.post("/mail?delete", body.encode())).texts("Deleted/Key") == [key]
        page = await one.parts.store.page(ListRequest("mail", "", "", "", 10))
        assert not page.objects
        assert ObjectName("mail", key).key == key
