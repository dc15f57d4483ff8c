"""The file format: pinned, and proof against every kind of damage."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tierproxy.disk import reading, trailer
from tierproxy.disk.descriptor import Descriptor
from tierproxy.disk.digest import BodyDigest
from tierproxy.errors import BlobCorrupt, TooLarge
from tierproxy.model import BlobLabel, Headers, ObjectName
from tierproxy.testing.contracts.disk import LABEL, body_of

PLAIN = BlobLabel(ObjectName("mail", "k"), 5, "etag", Headers(), 1.5)


def file_of(body: bytes, label: BlobLabel = LABEL) -> bytes:
    digest = BodyDigest(None)
    digest.update(body)
    return body + digest.trailer(label)


def read_whole(path: Path) -> tuple[BlobLabel, bytes]:
    """Open, check and read all of a blob file."""
    pin = Descriptor()
    try:
        found, content = reading.load(path, pin, reading.ANYTHING)
        if content is None:
            content = reading.read_blocks(pin, found, 0, found.size)
        return found.label, content
    finally:
        pin.abandon()


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "blob"


def test_the_bytes_of_version_1_are_these() -> None:
    text = b'{"bucket":"mail","etag":"etag","headers":{},"key":"k","parts":[]}'
    assert file_of(b"hello", PLAIN).hex() == (
        "68656c6c6f74696572626c6f6200010000000000410004000000000000000000050000000000000005b5e9c1ad071b3e"
        "7fc779cfaa5e5238183ff80000000000007b226275636b6574223a226d61696c222c2265746167223a2265746167222c"
        "2268656164657273223a7b7d2c226b6579223a226b222c227061727473223a5b5d7dde4dc903dc5fa0e3599bef08875d"
        "8c6400000091"
    )
    assert text in file_of(b"hello", PLAIN)
    assert len(file_of(b"hello", PLAIN)) == 5 + 60 + len(text) + 20


def test_the_bytes_of_a_large_blob_of_version_1_are_these() -> None:
    body = body_of(300_000)
    file = file_of(body)
    assert file[300_000:300_016] == b"".join(
        xxhash.xxh3_64_digest(body[start : start + 262_144]) for start in (0, 262_144)
    )
    assert hashlib.sha256(file).hexdigest() == "31454d973db36dbaa09a68ba46d1f8cc5f5cabda9d92c478854507c80d4a96b0"


@given(
    name=st.builds(ObjectName, st.text(max_size=63), st.text(st.characters(), max_size=300)),
    generation=st.integers(0, 2**63 - 1),
    etag=st.text(max_size=40),
    headers=st.builds(
        Headers, content_type=st.none() | st.text(), expires=st.none() | st.text(),
        metadata=st.dictionaries(st.text(), st.text(), max_size=5),
        checksums=st.dictionaries(st.text(), st.text(), max_size=2),
    ),
    written_at=st.floats(allow_nan=False, allow_infinity=False),
    parts=st.lists(st.integers(0, 2**63), max_size=20).map(tuple),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_every_label_comes_back(path: Path, **fields: object) -> None:
    label = BlobLabel(**fields)  # type: ignore[arg-type]
    path.write_bytes(file_of(b"body", label))
    assert read_whole(path) == (label, b"body")


def test_a_long_label_is_found_beyond_the_first_read(path: Path) -> None:
    label = BlobLabel(ObjectName("b", "k"), 1, "e", Headers(), 1.0, tuple(range(10_000)))
    for size in (0, 262_144, 300_000):
        path.write_bytes(file_of(body_of(size), label))
        assert read_whole(path) == (label, body_of(size))


def test_a_label_beyond_its_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        file_of(b"", BlobLabel(ObjectName("b", "k"), 1, "e", Headers(metadata={"x": "y" * trailer.MAX_LABEL}), 1.0))


SIZES = st.sampled_from([0, 1, 100, 4096, 262_144, 262_145, 600_000])
FILES = {size: file_of(body_of(size)) for size in (0, 1, 100, 4096, 262_144, 262_145, 600_000)}


def places(size: int) -> st.SearchStrategy[int]:
    """Offsets into a file, half of them in the trailer."""
    length = len(FILES[size])
    return st.integers(0, length - 1) | st.integers(size, length - 1)


def detected(path: Path, damaged: bytes) -> bool:
    path.write_bytes(damaged)
    try:
        read_whole(path)
    except BlobCorrupt:
        return True
    return False


@given(data=st.data(), size=SIZES, mask=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_is_detected_wherever_it_is(path: Path, data: st.DataObject, size: int, mask: int) -> None:
    damaged = bytearray(FILES[size])
    damaged[data.draw(places(size))] ^= mask
    assert detected(path, bytes(damaged))


@given(data=st.data(), size=SIZES)
@settings(max_examples=150, deadline=None)
def test_a_truncated_file_is_detected(path: Path, data: st.DataObject, size: int) -> None:
    assert detected(path, FILES[size][: data.draw(places(size))])


@given(size=SIZES, more=st.binary(min_size=1, max_size=200), front=st.booleans())
@settings(max_examples=100, deadline=None)
def test_an_extended_file_is_detected(path: Path, size: int, more: bytes, front: bool) -> None:
    assert detected(path, more + FILES[size] if front else FILES[size] + more)


@given(data=st.data(), size=SIZES)
@settings(max_examples=150, deadline=None)
def test_a_zero_filled_range_is_detected(path: Path, data: st.DataObject, size: int) -> None:
    start, stop = sorted((data.draw(places(size)), data.draw(places(size)) + 1))
    damaged = FILES[size][:start] + bytes(stop - start) + FILES[size][stop:]
    assume(damaged != FILES[size])
    assert detected(path, damaged)


@given(data=st.data(), size=SIZES, other=SIZES)
@settings(max_examples=100, deadline=None)
def test_the_front_of_one_file_and_the_end_of_another_are_no_blob(
    path: Path, data: st.DataObject, size: int, other: int
) -> None:
    torn = FILES[size][: data.draw(places(size))] + FILES[other][data.draw(places(other)) :]
    assume(torn not in FILES.values())
    assert detected(path, torn)


@given(st.binary(max_size=500))
@settings(max_examples=200, deadline=None)
def test_a_foreign_file_is_detected(path: Path, foreign: bytes) -> None:
    assert detected(path, foreign)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    label=st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {name: JSON | st.just({}) | st.just([]) | st.text() for name in ("bucket", "key", "etag", "headers", "parts")}
    ).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"bucket": st.text(), "key": st.text(), "etag": st.text(), "parts": st.just([])}
        | {"headers": st.dictionaries(st.sampled_from(["metadata", "checksums", "expires", "nothing"]), JSON)}
    ).map(lambda value: json.dumps(value).encode()),
    written_at=st.floats(),
    size=st.integers(0, 2**64 - 1) | st.just(0),
)
@settings(max_examples=400, deadline=None)
def test_a_hostile_trailer_with_a_right_checksum_is_read_or_refused(label: bytes, written_at: float, size: int) -> None:
    fixed = struct.pack(
        ">8sHxxIIQQ16sd", b"tierblob", 1, len(label), 262_144, size, 1, bytes(16), written_at
    )  # fmt: skip
    length = struct.pack(">I", len(fixed) + len(label) + 20)
    record = fixed + label + xxhash.xxh3_128_digest(fixed + label + length) + length
    try:
        found = trailer.decode(record, len(record) + size)
    except BlobCorrupt:
        return
    assert math.isfinite(found.label.written_at)
    assert all(isinstance(text, str) for text in (*found.label.name, found.label.etag))
    assert all(isinstance(text, str) for text in found.label.headers.metadata.values())


def test_deeply_nested_labels_are_refused() -> None:
    for text in (b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000):
        fixed = struct.pack(">8sHxxIIQQ16sd", b"tierblob", 1, len(text), 262_144, 0, 1, bytes(16), 1.0)
        length = struct.pack(">I", len(fixed) + len(text) + 20)
        record = fixed + text + xxhash.xxh3_128_digest(fixed + text + length) + length
        with pytest.raises(BlobCorrupt):
            trailer.decode(record, len(record))
