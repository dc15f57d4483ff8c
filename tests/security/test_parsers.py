"""Whatever a stranger writes, each parser takes it or refuses it: no other failure, no endless work, no heap of memory.

``corpus`` keeps what was interesting once; hypothesis makes more of it. ``make fuzz`` does the same for as long as one
likes.
"""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from encodings.aliases import aliases
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.fuzz import main
from tests.security.mutation import SCRAPS, mutated
from tests.security.targets import TARGETS, Endless, corpus, counted, refused, run
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.xmlio import MAX_DOCUMENT, parse, parse_delete
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Probe

KEPT = [(name, path) for name in TARGETS for path in corpus(name)]
MEBIBYTE = 2**20


@pytest.mark.parametrize("name", TARGETS)
def test_every_parser_has_a_corpus(name: str) -> None:
    assert len(corpus(name)) >= 5


@pytest.mark.parametrize(("name", "path"), KEPT, ids=[f"{name}-{path.name}" for name, path in KEPT])
def test_what_was_interesting_once_is_taken_or_refused(name: str, path: object) -> None:
    data = path.read_bytes()  # type: ignore[attr-defined]
    tracemalloc.start()
    try:
        run(name, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MEBIBYTE + 200 * len(data), peak


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_whatever_make_a_parser_stumble(name: str) -> None:
    pool = [path.read_bytes() for path in corpus(name)]
    slow = name in {"reads", "config", "rules"}

    @settings(max_examples=20 if slow else 100, deadline=None, derandomize=True)
    @given(st.integers(0, 2**32), st.lists(st.sampled_from(SCRAPS) | st.binary(max_size=8), max_size=3))
    def play(seed: int, scraps: list[bytes]) -> None:
        run(name, mutated(pool, random.Random(seed)))
        run(name, b"".join(scraps))

    play()


def again_and_again() -> None:
    with counted(0):
        for _ in range(3000):
            parse_delete(b"<Delete><Object><Key>a</Key></Object></Delete>")


def test_endless_work_would_be_noticed() -> None:
    with pytest.raises(Endless):
        again_and_again()


def test_the_fuzzer_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.2", "--target", "keys", "--target", "values"]) == 0
    assert "keys:" in capsys.readouterr().out


# ---------------------------------------------------------------- documents made to be large

LAUGHS = b'<?xml version="1.0"?><!DOCTYPE Delete [<!ENTITY a "haha">%b]><Delete>&z;</Delete>'
BOMBS: dict[str, bytes] = {
    "billion laughs": LAUGHS % b"".join(
        b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(25)
    ),
    "quadratic": b'<!DOCTYPE Delete [<!ENTITY a "%b">]><Delete>%b</Delete>' % (b"a" * 50_000, b"&a;" * 50_000),
    "external entity": b'<!DOCTYPE Delete [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete>&a;</Delete>',
    "external DTD": b'<!DOCTYPE Delete SYSTEM "http://127.0.0.1:1/x.dtd"><Delete/>',
    "parameter entity": b'<!DOCTYPE Delete [<!ENTITY %% a SYSTEM "file:///etc/passwd"> %%a;]><Delete/>',
    "empty DTD": b"<!DOCTYPE Delete><Delete><Object><Key>a</Key></Object></Delete>",
    "UTF-16 with a DTD": '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><Delete/>'.encode("utf-16"),
    "UTF-7": b"<?xml version='1.0' encoding='utf-7'?><Delete>+ADw-a/+AD4-</Delete>",
    "deep": b"<Delete>" + b"<a>" * 200_000,
    "wide": b"<Delete>" + b"<a/>" * 200_000 + b"</Delete>",
    "one name without end": b"<" + b"a" * 4_000_000,
    "one comment": b"<Delete><!--" + b"a" * 4_000_000 + b"--></Delete>",
    "many comments": b"<Delete>" + b"<!---->" * 100_000 + b"</Delete>",
    "many attributes": b"<Delete %b/>" % b" ".join(b'a%x=""' % n for n in range(350_000)),
    "attributes in many tags": b"<Delete>" + b"<a %b/>" % b" ".join(b'a%x=""' % n for n in range(8000)) * 40,
    "many namespaces": b"<Delete %b/>" % b" ".join(b'xmlns:a%x="a"' % n for n in range(200_000)),
    "many instructions": b"<Delete>" + b"<?a?>" * 100_000 + b"</Delete>",
    "character references": b"<Delete>" + b"&#65;" * 800_000 + b"</Delete>",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_document_costs_no_more_than_its_size(name: str) -> None:
    data = BOMBS[name]
    tracemalloc.start()
    try:
        with counted(len(data)):
            assert refused(lambda: parse_delete(data)) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 * MEBIBYTE, peak // MEBIBYTE


@pytest.mark.parametrize(
    "encoding", sorted({*aliases.values(), "utf-7", "idna", "unicode_escape", "undefined", "x" * 99})
)
def test_no_encoding_that_a_document_names_makes_it_another(encoding: str) -> None:
    name = encoding.replace("_", "-")
    plain = f'<?xml version="1.0" encoding="{name}"?><Delete><Object><Key>a</Key></Object></Delete>'.encode()
    found: Any = refused(lambda: parse_delete(plain))
    assert found is None or [target.key for target in found.targets] == ["a"]
    assert (found is not None) == (name.lower() in {"utf-8", "us-ascii"})


def test_a_document_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(S3Error) as refusal:
        parse(b"<" * (MAX_DOCUMENT + 1), "Delete")
    assert refusal.value.code == "MaxMessageLengthExceeded"


# ---------------------------------------------------------------- what is told of reads

LINE = (
    '{"key": "1", "size": 1, "reason": "", "times": 1, "sent": 1, "at": 1.0, "ranged": false, "owner": null, '
    '"folder": null}'
)
WRONG = {
    "brackets in brackets": "[" * 100_000,
    "objects in objects": '{"a":' * 100_000,
    "a moment beyond all numbers": LINE.replace('"at": 1.0', '"at": 1' + "0" * 400),
    "a moment long ago": LINE.replace('"at": 1.0', '"at": -1e300'),
    "a moment far away": LINE.replace('"at": 1.0', '"at": 1e300'),
    "half a character in the key": LINE.replace('"key": "1"', '"key": "\\ud800"'),
    "half a character in the owner": LINE.replace('"owner": null', '"owner": "\\udfff"'),
    "half a character in the folder": LINE.replace('"folder": null', '"folder": "a\\ud800"'),
    "a zero byte": LINE.replace('"key": "1"', '"key": "\\u0000"'),
    "a long key": LINE.replace('"key": "1"', f'"key": "{"k" * 1025}"'),
    "more reads than a catalogue counts": LINE.replace('"times": 1', f'"times": {2**61}'),
    "more bytes than a catalogue counts": LINE.replace('"sent": 1', f'"sent": {2**61}'),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_catalogue_could_not_write_down_is_refused(name: str) -> None:
    """A batch of counts is written at once: one line in it that cannot be would keep back all others for ever."""

    async def tell() -> None:
        store = MemoryStore()
        probe = Probe(ObjectApp(store, Open(), ListenSection(auth="none"), SystemClock()))
        answer = await probe.post("/mail?tierproxy-reads", f"{LINE}\n{WRONG[name]}\n".encode())
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert not store.told

    asyncio.run(tell())
