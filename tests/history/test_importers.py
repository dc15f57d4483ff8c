"""Logs of other programs, realistic and hostile."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.history.rigs import events
from tierproxy.config.sections import FoldersSection
from tierproxy.disk.fsio import Files
from tierproxy.errors import TierproxyError
from tierproxy.history import schema
from tierproxy.history.access import BadLine, nginx, s3, time_of
from tierproxy.history.export import Export
from tierproxy.history.importers import LONGEST, Importer, ImportReport, Target
from tierproxy.history.reading import open_history
from tierproxy.history.segments import SegmentWriter, write
from tierproxy.mail.names import Naming
from tierproxy.traffic import Reason

KEY = "example.org/alice/mailboxes/INBOX/dbox-Mails/u.17"
OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"


def combined(request: str, status: int = 200, sent: str = "1234", rest: str = "", user: str = "-") -> str:
    return f'192.0.2.7 - {user} [31/Jan/2026:23:59:59 -0130] "{request}" {status} {sent} "-" "dovecot/2.3"{rest}'


def s3_line(operation: str, key: str, request: str, status: str = "200", sent: str = "500", size: str = "2000") -> str:
    return (
        f"{OWNER} mail [06/Feb/2019:00:00:38 +0000] 192.0.2.3 arn:aws:iam::123456789012:user/dovecot 3E57427F3EXAMPLE "
        f'{operation} {key} "{request}" {status} - {sent} {size} 70 10 "-" "aws-cli/2.0 (with "quotes")" - abc= SigV4'
    )


def imported(tmp_path: Path, form: str, *contents: bytes, **options: Any) -> tuple[ImportReport, list[dict[str, Any]]]:
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"{number}.log")
        paths[-1].write_bytes(content)
    out = SegmentWriter(tmp_path / "out", Files(), source=form, rows=options.pop("rows", 1000))
    given_options: dict[str, Any] = {"target": Target.of(), "naming": Naming((), FoldersSection()).of} | options
    report = Importer(form, out, **given_options).run(paths)
    return report, list(open_history(tmp_path / "out").events())


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


# ------------------------------------------------------------ nginx


def test_reads_writes_and_deletes_of_nginx(tmp_path: Path) -> None:
    content = lines(
        combined(f"GET /mail/{KEY} HTTP/1.1"),
        combined(f"PUT /mail/{KEY} HTTP/1.1", 200, "0"),
        combined(f"DELETE /mail/{KEY} HTTP/1.1", 204, "0"),
        combined(f"HEAD /mail/{KEY} HTTP/1.1", 200, "0"),
        combined(f"GET /mail/{KEY} HTTP/1.1", 404),
        combined("GET /mail?list-type=2 HTTP/1.1"),
        combined(f"GET /mail/{KEY}?acl HTTP/1.1"),
        "",
    )
    report, found = imported(tmp_path, "nginx", content)
    assert [event["kind"] for event in found] == ["read", "write", "delete"]
    first = found[0]
    assert first["at"] == 1_769_909_399_000_000
    assert (first["bucket"], first["key"], first["owner"], first["folder"]) == (
        "mail",
        KEY,
        "alice@example.org",
        "inbox",
    )
    assert (first["size"], first["sent"], first["client"], first["reason"]) == (1234, 1234, "192.0.2.7", "person")
    assert report.skipped == {
        "HEAD 200": 1, "GET 404": 1, "GET of something else than an object": 2, "empty lines": 1,
    }  # fmt: skip
    assert (report.lines, report.events, report.bad) == (8, 3, 0)


@pytest.mark.parametrize(
    ("rest", "outcome"),
    [("", ""), (" 0.004 HIT", "disk"), (' rt=0.010 ut="2.001, 0.345" cs=MISS', "fill"), (' "BYPASS" 0.1', "pass"),
     (" 0.001 -", ""), (" EXPIRED 0.2 pipe", "fill")],
)  # fmt: skip
def test_the_cache_status_after_the_combined_format_is_the_outcome(rest: str, outcome: str) -> None:
    assert nginx(combined("GET /mail/a HTTP/1.1", rest=rest)).outcome == outcome


def test_escaped_and_percent_encoded_paths_are_the_keys_they_stand_for() -> None:
    assert nginx(combined(r"GET /mail/a\xC3\xA4%20\x22b%2Fc HTTP/1.1")).path == '/mail/aä "b/c'
    assert nginx(combined("GET http://host/mail/a HTTP/1.1")).path == "/mail/a"
    assert nginx(combined("GET /mail/a b HTTP/1.1")).path == "/mail/a b"


def test_ranges_of_one_client_within_the_window_are_one_read(tmp_path: Path) -> None:
    def at(second: int, status: int, client: str = "192.0.2.7") -> str:
        return f'{client} - - [31/Jan/2026:12:00:{second:02d} +0000] "GET /m/k HTTP/1.1" {status} 10 "-" "-"'

    content = lines(at(0, 206), at(5, 206), at(5, 206, "192.0.2.8"), at(9, 200), at(12, 206), at(40, 206))
    _, found = imported(tmp_path, "nginx", content, window=20)
    assert [event["first"] for event in found] == [True, False, True, True, False, True]


def test_machines_are_told_by_agent_and_key(tmp_path: Path) -> None:
    content = lines(combined("GET /m/k HTTP/1.1"), combined("GET /m/index HTTP/1.1"))
    _, found = imported(
        tmp_path, "nginx", content,
        reason=lambda agent, key: Reason.INDEX if (agent, key) == ("dovecot/2.3", "index") else Reason.PERSON,
    )  # fmt: skip
    assert [event["reason"] for event in found] == ["person", "index"]


@pytest.mark.parametrize(
    ("pattern", "bucket", "name"),
    [("", "", ("s3", "mail/a/b")), ("", "all", ("all", "s3/mail/a/b")),
     (r"/s3/(?P<bucket>\w+)/(?P<key>.+)", "", ("mail", "a/b")),
     (r"/s3/mail/(?P<key>.+)", "x", ("x", "a/b")), (r"/other/(?P<bucket>\w+)/(?P<key>.+)", "", None)],
)  # fmt: skip
def test_bucket_and_key_come_from_the_path_as_told(pattern: str, bucket: str, name: tuple[str, str] | None) -> None:
    assert Target.of(pattern, bucket).name(nginx(combined("GET /s3/mail/a/b HTTP/1.1"))) == name


@pytest.mark.parametrize("pattern", ["(", "/(?P<bucket>.+)", "/(?P<key>.+)"])
def test_a_path_pattern_that_cannot_work_is_refused(pattern: str) -> None:
    with pytest.raises(TierproxyError, match="pattern"):
        Target.of(pattern)


# ------------------------------------------------------------ S3


def test_operations_of_s3(tmp_path: Path) -> None:
    content = lines(
        s3_line("REST.PUT.OBJECT", "a", "PUT /mail/a HTTP/1.1", sent="-"),
        s3_line("REST.GET.OBJECT", "a", "GET /mail/a HTTP/1.1", status="206"),
        s3_line("REST.POST.UPLOAD", "b", "POST /mail/b?uploadId=1 HTTP/1.1"),
        s3_line("REST.DELETE.OBJECT", "a", "DELETE /mail/a HTTP/1.1", status="204", sent="-"),
        s3_line("BATCH.DELETE.OBJECT", "b", "-", status="204", sent="-"),
        s3_line("REST.HEAD.OBJECT", "a", "HEAD /mail/a HTTP/1.1"),
        s3_line("REST.GET.VERSIONING", "-", "GET /mail?versioning HTTP/1.1"),
        s3_line("REST.PUT.PART", "b", "PUT /mail/b?partNumber=1 HTTP/1.1"),
    )
    report, found = imported(tmp_path, "s3", content)
    told = [(event["kind"], event["key"], event["size"], event["sent"]) for event in found]
    assert told == [
        ("write", "a", 2000, 0), ("read", "a", 2000, 500), ("write", "b", 2000, 0), ("delete", "a", 2000, 0),
        ("delete", "b", 2000, 0),
    ]  # fmt: skip
    assert report.skipped.total() == 3
    assert found[0]["client"] == "arn:aws:iam::123456789012:user/dovecot@192.0.2.3"
    assert found[0]["at"] == 1_549_411_238_000_000


@pytest.mark.parametrize(
    ("field", "path", "key"),
    [("a%2520b", "/mail/a%20b", "a b"), ("a%20b", "/a%20b", "a b"), ("a%2520b", "/mail/a%2520b", "a%20b"),
     ("%C3%A4", "/mail/%C3%A4", "ä")],
)  # fmt: skip
def test_a_key_is_decoded_as_often_as_it_was_encoded(field: str, path: str, key: str) -> None:
    assert s3(s3_line("REST.GET.OBJECT", field, f"GET {path} HTTP/1.1")).key == key


# ------------------------------------------------------------ our own


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_text_that_was_exported_can_be_imported(tmp_path: Path, form: str) -> None:
    (tmp_path / "from").mkdir()
    write(tmp_path / "from", schema.frame_of(events(0, 20)), files=Files())
    text = io.BytesIO()
    Export(open_history(tmp_path / "from")).to_text(form, text)
    report, found = imported(tmp_path, form, text.getvalue())
    assert report.bad == 0
    assert found == list(open_history(tmp_path / "from").events())


@pytest.mark.parametrize(
    "line",
    ["[]", "7", "{", '{"at":"2026-01-01T00:00:00","kind":"read","bucket":"b","key":"k"}',
     '{"at":1e300,"kind":"read","bucket":"b","key":"k"}', '{"at":1,"kind":"eat","bucket":"b","key":"k"}',
     '{"at":1,"kind":"read","bucket":"b"}', '{"at":1,"kind":"read","bucket":"b","key":"k","size":-1}',
     '{"at":1,"kind":"read","bucket":"b","key":"k","size":1e999}', '{"at":1,"kind":"read","bucket":7,"key":"k"}',
     "[" * 5000],
)  # fmt: skip
def test_wrong_json_lines_are_counted_and_named(tmp_path: Path, line: str) -> None:
    good = '{"at":"2026-01-01T01:00:00+01:00","kind":"read","bucket":"b","key":"k\\ud800"}'
    report, found = imported(tmp_path, "jsonl", lines(good, line, good))
    assert (report.bad, report.events) == (1, 2)
    assert "0.log line 2" in report.examples[0]
    assert found[0]["at"] == 1_767_225_600_000_000


def test_a_csv_without_a_head_is_bad(tmp_path: Path) -> None:
    report, _ = imported(tmp_path, "csv", b"1,2,3\n4,5,6\n")
    assert (report.bad, report.events) == (1, 0)
    assert "name the columns" in report.examples[0]


# ------------------------------------------------------------ hostile


HOSTILE = [
    "hello", combined("GET", 200), combined("-"), combined("GET /mail/a HTTP/1.1", sent="9" * 30),
    combined("GET /mail/a HTTP/1.1").replace("Jan", "Foo"), combined("GET /mail/a HTTP/1.1").replace("31/", "32/"),
    combined("GET /mail/a HTTP/1.1").replace(":59 ", ":99 "), combined("GET /mail/a HTTP/1.1").replace("2026", "0001"),
    '"' * 1000, "[" * 1000, "\\x" * 1000,
]  # fmt: skip


@pytest.mark.parametrize("form", ["nginx", "s3"])
@pytest.mark.parametrize("line", HOSTILE)
def test_hostile_lines_are_bad_and_nothing_more(tmp_path: Path, form: str, line: str) -> None:
    good = combined("GET /m/k HTTP/1.1") if form == "nginx" else s3_line("REST.GET.OBJECT", "k", "GET /m/k HTTP/1.1")
    report, found = imported(tmp_path, form, lines(good, line, good))
    assert (report.bad, len(found)) == (1, 2)
    assert report.examples[0].startswith(f"{tmp_path}/0.log line 2: ")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text('"[] \\x-/:09aGETHIP.', max_size=200))
def test_no_text_breaks_a_parser(text: str) -> None:
    for parse in (nginx, s3):
        with contextlib.suppress(BadLine):
            parse(text)


def test_a_line_without_end_does_not_have_to_fit_in_memory(tmp_path: Path) -> None:
    good = lines(combined("GET /m/k HTTP/1.1"))
    report, found = imported(tmp_path, "nginx", good + b"x" * (LONGEST * 3) + b"\n" + good)
    assert (report.bad, len(found), report.lines) == (1, 2, 3)
    assert "too long" in report.examples[0]


def test_zeros_and_bytes_that_are_no_text_are_survived(tmp_path: Path) -> None:
    content = bytes(100) + b"\n" + random.Random(1).randbytes(5000) + b"\n" + lines(combined("GET /m/%ff%00 HTTP/1.1"))
    report, found = imported(tmp_path, "nginx", content)
    assert [event["key"] for event in found] == ["\ufffd\x00"]
    assert report.bad == report.lines - 1


def test_gzip_is_told_by_its_content_and_its_end_may_be_missing(tmp_path: Path) -> None:
    whole = gzip.compress(lines(*[combined(f"GET /m/k{n} HTTP/1.1") for n in range(5000)]))
    report, found = imported(tmp_path, "nginx", whole, whole[: len(whole) // 2], rows=100_000)
    assert 5000 < len(found) < 10_000
    assert report.bad == 1
    assert "cannot be read" in report.examples[0]


def test_memory_is_bounded_by_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    gather = SegmentWriter._gather

    def watched(self: SegmentWriter) -> None:
        held.append(len(self._waiting) + self._held)
        gather(self)

    monkeypatch.setattr(SegmentWriter, "_gather", watched)
    content = lines(*[combined(f"GET /m/k{n} HTTP/1.1") for n in range(5000)])
    report, found = imported(tmp_path, "nginx", content, rows=500)
    assert report.segments == 10
    assert max(held) <= 1000
    assert len(found) == 5000


def test_progress_goes_to_the_end_of_all_files(tmp_path: Path) -> None:
    content = lines(*[combined(f"GET /m/k{n} HTTP/1.1") for n in range(20_000)])
    told: list[int] = []
    imported(tmp_path, "nginx", content, content, rows=100_000, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 2 * len(content)
    assert len(told) == 4


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    out = SegmentWriter(tmp_path / "out", Files(), source="nginx")
    with pytest.raises(TierproxyError, match="cannot read"):
        Importer("nginx", out, target=Target.of(), naming=lambda name: ("", "")).run([tmp_path / "nowhere"])


def test_times_are_utc() -> None:
    assert time_of("01/Jan/1970:01:00:00 +0100") == 0
    assert time_of("31/Dec/2016:23:59:60 +0000") == time_of("01/Jan/2017:00:00:00 +0000")
