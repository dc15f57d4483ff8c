"""Defects that a review of history found, and what it doubted."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import FoldersSection
from tierproxy.disk.fsio import Files
from tierproxy.history import names, reading
from tierproxy.history.access import BadLine, nginx, s3
from tierproxy.history.anonymise import Anonymiser
from tierproxy.history.export import Export
from tierproxy.history.importers import Importer, ImportReport, Target
from tierproxy.history.reading import open_history
from tierproxy.history.schema import frame_of
from tierproxy.history.segments import SegmentWriter, write
from tierproxy.mail.names import Naming
from tierproxy.model import ObjectName
from tierproxy.testing.clock import EPOCH
from tierproxy.traffic import Event, EventKind

from .rigs import events, history_files, numbers

COMBINED = '{ip} - {user} [{when}] "{request}" {status} {sent} "-" "{agent}"'


def line(**facts: object) -> str:
    given = {
        "ip": "10.0.0.1", "user": "ann", "when": "31/Jan/2027:12:00:00 +0000", "request": "GET /mail/u.1 HTTP/1.1",
        "status": 200, "sent": 10, "agent": "mutt",
    }  # fmt: skip
    return COMBINED.format(**given | facts)


def imported(tmp_path: Path, form: str, content: bytes | str) -> tuple[ImportReport, list[dict[str, Any]]]:
    file, out = tmp_path / "log", tmp_path / "out"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    writer = SegmentWriter(out, Files(), source=form)
    naming = Naming((), FoldersSection()).of
    report = Importer(form, writer, target=Target.of(), naming=naming).run([file])
    return report, list(open_history(out).events())


# ---------------------------------------------------------------- beside a node that rotates


def after(module: Any, function: str) -> Callable[[Callable[[], None], pytest.MonkeyPatch], None]:
    """The node rotates right after the reader's call of ``function``."""

    def arm(rotate: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
        before = getattr(module, function)

        def then(*args: Any) -> Any:
            found = before(*args)
            if isinstance(found, filter | map):
                found = list(found)
            rotate()
            return found

        monkeypatch.setattr(module, function, then)

    return arm


@pytest.mark.parametrize("moment", ["journals", "glob", "_files"])
def test_a_journal_that_becomes_a_segment_while_it_is_looked_for_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    files = history_files(tmp_path)
    files.append(events(0, 5), EPOCH)
    files.close()
    files.settle()
    files.append(events(5, 5), EPOCH + 5)
    rotated: list[bool] = []

    def rotate() -> None:
        if not rotated:
            rotated.append(True)
            files.close()
            files.settle()
            files.append(events(10, 1), EPOCH + 10)

    if moment == "glob":
        glob = Path.glob

        def listed(self: Path, pattern: str) -> Any:
            found = list(glob(self, pattern))
            rotate()
            return found

        monkeypatch.setattr(Path, "glob", listed)
    else:
        after(reading, moment)(rotate, monkeypatch)
    assert numbers(tmp_path)[:10] == list(range(10))
    assert rotated
    files.close()


# ---------------------------------------------------------------- imports


@pytest.mark.parametrize("at", ["1801396800", "1801396800.25", "2027-01-31T12:00:00+00:00"])
def test_csv_may_give_seconds_since_the_epoch(tmp_path: Path, at: str) -> None:
    report, found = imported(tmp_path, "csv", f"at,kind,bucket,key\n{at},read,mail,u.1\n")
    assert report.bad == 0, report.examples
    assert found[0]["at"] // 1_000_000 == 1801396800


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("csv", "at,kind,bucket,key\n1801396800,read,mail,u.1\n"),
        ("jsonl", '{"at": 1801396800, "kind": "read", "bucket": "mail", "key": "u.1"}\n'),
        ("nginx", line() + "\r\n"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, form: str, text: str) -> None:
    report, found = imported(tmp_path, form, b"\xef\xbb\xbf" + text.encode())
    assert (report.bad, len(found)) == (0, 1), report.examples
    assert found[0]["client"] in {"", "ann@10.0.0.1"}


S3 = (
    'owner mail [31/Jan/2027:12:00:00 +0000] 10.0.0.1 ann 3E57 REST.GET.OBJECT u.1 "GET /mail/u.1 HTTP/1.1" '
    '{status} - {sent} {size} 7 6 "-" "mutt" -'
)


def test_a_get_that_delivered_nothing_is_no_read(tmp_path: Path) -> None:
    """A client that left before the first byte; an object of no bytes is read all the same."""
    cases = [(200, "-", 100), (206, 0, 100), (200, "-", 0), (200, 100, 100)]
    report, found = imported(tmp_path, "s3", "".join(S3.format(status=a, sent=b, size=c) + "\n" for a, b, c in cases))
    assert [(one["sent"], one["size"], one["first"]) for one in found] == [(0, 0, True), (100, 100, True)]
    assert report.skipped == {"GET that delivered nothing": 2}


def test_clients_times_and_paths_come_in_all_shapes() -> None:
    west = nginx(line(ip="2001:db8::1", when="31/Jan/2027:05:30:00 -0630"))
    assert (west.client, west.at) == ("ann@2001:db8::1", nginx(line()).at)
    assert nginx(line(request=r"GET /mail/a\"b\\c\xC3\xA4 HTTP/1.1")).path == '/mail/a"b\\cä'
    assert nginx(line(agent=r"evil \"agent\" [x]")).agent == r"evil \"agent\" [x]"
    assert nginx(line(user="ann smith")).client == "ann smith@10.0.0.1"
    assert nginx(line(sent=0)).sent == 0


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["ip", "user", "when", "request", "status", "sent", "agent"]))
def test_no_line_is_too_odd(text: str, where: str) -> None:
    for parse in (nginx, s3):
        for odd in (line(**{where: text}), text):
            try:
                parse(odd.replace("\n", " "))
            except BadLine:
                continue


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_file_is_too_odd(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for form in ("nginx", "s3", "jsonl", "csv"):
        report, found = imported(tmp_path_factory.mktemp("odd"), form, content)
        assert report.events == len(found)


# ---------------------------------------------------------------- names


def test_started_is_of_the_nodes_segments_only(tmp_path: Path) -> None:
    own = write(tmp_path, frame_of(events(0, 1)), files=Files(), started=5)
    other = write(tmp_path, frame_of(events(0, 1)), files=Files(), started=5, source="nginx")
    assert [names.started_of(path) for path in (own, other, tmp_path / "x.parquet")] == [5, None, None]


# ---------------------------------------------------------------- nothing leaks


def test_nothing_of_the_people_is_left_in_an_anonymous_export(tmp_path: Path) -> None:
    secret = ("ann", "secretbucket", "example", "Steuer", "4711", "AKIAANN", "10.9.8.7", "no mail of bob", "torun")
    keys = (
        "example.org/ann/mailboxes/Steuer/4711/dbox-Mails/u.1",
        "ann@example.org/Maildir/.Steuer.4711/cur/4711.ann,S=10:2,S",
        "torun.eml",
    )  # fmt: skip
    told = [
        Event(
            EPOCH + number, EventKind.READ, ObjectName("secretbucket", key), "ann@example.org", folder, 10, 10, "disk",
            "person", "AKIAANN@10.9.8.7", "rule:no mail of bob",
        )
        for number, key in enumerate(keys) for folder in ("inbox", "Steuer/4711")
    ]  # fmt: skip
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", frame_of(told), files=Files(), node="ann-host")
    history = open_history(tmp_path / "in")
    Export(history, anonymiser=Anonymiser(b"s" * 32)).to_directory(tmp_path / "out", Files())
    text = io.StringIO()
    rows = list(open_history(tmp_path / "out").events())
    csv.writer(text).writerows(list(row.values()) for row in rows)
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert len(rows) == len(told)
    for word in secret:
        assert word not in text.getvalue(), word
        assert word.encode() not in content, word
    assert json.loads(json.dumps(rows))[0]["folder"] == "inbox"
