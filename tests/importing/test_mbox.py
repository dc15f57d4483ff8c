"""mbox files, as they are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.importing.rigs import bad_of, body, folders_of, letters_of
from tierproxy.importing.fromline import date_in
from tierproxy.importing.letters import Bad, NotASource
from tierproxy.importing.mbox import Quoting, folders
from tierproxy.mail.dbox import start_of

FROM = b"From alice@example.org Sat Jan  3 01:05:34 2026\n"
AT = 1_767_402_334


def message(file: bytes) -> bytes:
    start = start_of(file)
    return file[start.begin : start.end]


def mails(path: Path, quoting: Quoting = Quoting.AUTO) -> list[bytes]:
    (folder,) = folders_of(folders(path, quoting)).values()
    return [message(body(one.pack())) for one in letters_of(folder)]


def file_of(directory: Path, content: bytes, name: str = "mbox") -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def test_mails_are_split_at_from_lines_and_unquoted(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        FROM + b"Subject: one\n\nFrom here on it is text,\n>From too\n>>From twice\n\n" + FROM
        + b"Subject: two\r\n\r\nend\r\n",
    )  # fmt: skip
    assert mails(path) == [
        b"Subject: one\n\nFrom here on it is text,\nFrom too\n>From twice\n",
        b"Subject: two\n\nend\n",
    ]


def test_a_from_line_without_an_empty_line_or_a_date_begins_nothing(tmp_path: Path) -> None:
    path = file_of(tmp_path, FROM + b"Subject: one\n\na\n" + FROM + b"b\n\nFrom me to you\nc\n")
    assert mails(path) == [b"Subject: one\n\na\n" + FROM + b"b\n\nFrom me to you\nc\n"]


def test_a_right_content_length_is_believed_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    text = b"x\n\n" + FROM + b"\n>From quoted\n\n"
    counted = FROM + b"Subject: one\nContent-Length: %d\n\n" % len(text) + text + b"\n"
    wrong = FROM + b"Subject: two\nContent-Length: 5\n\nlonger than five\n\n"
    cut = FROM + b"Subject: three\nContent-Length: 5000\n\nends here\n"
    assert mails(file_of(tmp_path, counted + wrong + cut)) == [
        b"Subject: one\n\n" + text,
        b"Subject: two\n\nlonger than five\n",
        b"Subject: three\n\nends here\n",
    ]


def test_what_was_said_of_the_quoting_holds(tmp_path: Path) -> None:
    text = b">From quoted\n"
    path = file_of(tmp_path, FROM + b"Subject: one\nContent-Length: %d\n\n" % len(text) + text)
    assert mails(path) == mails(path, Quoting.MBOXCL2) == [b"Subject: one\n\n>From quoted\n"]
    assert mails(path, Quoting.MBOXRD) == [b"Subject: one\n\nFrom quoted\n"]


def test_headers_of_mbox_programs_are_left_out_and_flags_are_taken_from_them(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        FROM + b"X-IMAP: 1763772000 3\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\ntext\n\n"
        + FROM + b"X-IMAPbase: 1763772000 3\nStatus: RO\nX-Status: AF\nX-UID: 7\nX-Keywords: $Forwarded\n  work\n"
        b"Subject: kept\n Status: kept as well\n\nStatus: of the body\n",
    )  # fmt: skip
    (folder,) = folders_of(folders(path)).values()
    (letter,) = letters_of(folder)
    assert message(body(letter.pack())) == b"Subject: kept\n Status: kept as well\n\nStatus: of the body\n"
    assert letter.flags == ("\\Seen", "\\Answered", "\\Flagged")
    assert letter.keywords == ("$Forwarded",)


def test_two_mails_that_are_the_same_stay_two_and_keep_their_guids_in_every_run(tmp_path: Path) -> None:
    one, two = FROM + b"Subject: same\n\ntext\n\n", FROM + b"Subject: other\n\ntext\n\n"
    path = file_of(tmp_path, one + two + one)
    (folder,) = folders_of(folders(path)).values()
    guids = [letter.pack().guid for letter in letters_of(folder)]
    assert len(set(guids)) == 3
    file_of(tmp_path, two + one + one)
    (folder,) = folders_of(folders(path)).values()
    assert {letter.pack().guid for letter in letters_of(folder)} == set(guids)
    assert {letter.pack().received for letter in letters_of(folder)} == {AT}


def test_a_directory_is_folders_also_thunderbirds(tmp_path: Path) -> None:
    file_of(tmp_path, FROM + b"Subject: x\n\ny\n", "Sent")
    file_of(tmp_path, b"binary", "Sent.msf")
    (tmp_path / "Archive.sbd").mkdir()
    file_of(tmp_path / "Archive.sbd", b"", "2024")
    file_of(tmp_path, b"no mail", "notes.txt")
    (tmp_path / "link").symlink_to(tmp_path / "Sent")
    found = list(folders(tmp_path))
    assert set(folders_of(found)) == {"Sent", "Archive/2024"}
    assert {Path(one.origin).name for one in found if isinstance(one, Bad)} == {"notes.txt", "link"}


def test_an_empty_mail_is_told_and_the_next_one_is_read(tmp_path: Path) -> None:
    path = file_of(tmp_path, FROM + b"\n" + FROM + b"Subject: x\n\ny\n")
    (folder,) = folders_of(folders(path)).values()
    assert [one.reason for one in bad_of(folder)] == ["an empty mail"]
    assert mails(path) == [b"Subject: x\n\ny\n"]


def test_a_file_that_is_no_mbox_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotASource, match="not an mbox"):
        folders(file_of(tmp_path, b"Subject: x\n\ny\n"))
    with pytest.raises(NotASource, match="No such file"):
        folders(tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "at"),
    [
        (b"From alice@example.org Sat Jan  3 01:05:34 2026\n", AT),
        (b"From alice@example.org Sat Jan  3 01:05:34 2026 +0100\n", AT - 3600),
        (b"From alice@example.org Sat Jan  3 01:05:34 -0130 2026\r\n", AT + 5400),
        (b"From alice@example.org Sat Jan  3 01:05:34 GMT 2026\n", AT),
        (b'From "a b"@example.org Sat Jan 03 01:05:34 2026 remote from host\n', AT),
        (b"From - Sat Jan  3 01:05 2026\n", AT - 34),
        (b"From  Sat Jan  3 01:05:34 2026\n", AT),
        (b"From here on\n", None),
        (b"From alice Sat Jan 33 01:05:34 2026\n", None),
        (b"From alice Sat Jan  3 31:05:34 2026\n", None),
        (b"From " + b"a " * 4000 + b"Sat Jan  3 01:05:34 2026\n", None),
    ],
)
def test_dates_of_from_lines(line: bytes, at: int | None) -> None:
    assert date_in(line) == at


texts = st.lists(
    st.sampled_from(
        [b"From ", b">From x\n", FROM, b"\n", b"\r\n", b"text\n", b"Content-Length: 3\n", b"a" * 300, b"\n\n"]
    ),
    max_size=25,
).map(b"".join)


def quoted(text: bytes) -> bytes:
    """mboxrd."""
    lines = text.split(b"\n")
    return b"\n".join(b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in lines)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_what_was_written_as_mboxrd_comes_back(tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]) -> None:
    written = [b"Subject: x\n\n" + text.replace(b"\r\n", b"\n") + b"\n" for text in bodies]
    path = file_of(tmp_path_factory.mktemp("mbox"), b"".join(FROM + quoted(one) + b"\n" for one in written))
    assert mails(path, Quoting.MBOXRD) == written


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400) | texts)
def test_no_file_is_too_strange_to_be_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = file_of(tmp_path_factory.mktemp("mbox"), FROM + content)
    for quoting in Quoting:
        (folder,) = folders_of(folders(path, quoting)).values()
        for one in letters_of(folder):
            assert body(one.pack())
