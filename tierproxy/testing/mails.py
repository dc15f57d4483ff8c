"""Mails as they come: real in form, invented in content, the same for the same seed.

Every mail is CRLF-terminated RFC 5322 made with the standard library's email package, with the header lines that mail
servers put on top, good and odd ones. Sizes follow a lognormal distribution (median about 15 KB) between 1 KB and
20 MB; one in 150 is a large one of 10 MB or more.
"""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

SMALLEST = 1_000
LARGEST = 20_000_000
MEDIAN = 15_000
SPREAD = 1.5
"""Standard deviation of the logarithm of the size."""

LARGE = {97: 12_000_000, 211: 19_500_000}
"""Of every 300 mails, these are large."""

TEXT_LIMIT = 200_000
"""Larger mails carry their weight in attachments, as real ones do."""

USERS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
FOLDERS = ("INBOX", "INBOX", "INBOX", "Sent", "Archive", "Trash", "Projekte &- Kunden", "&ZeVnLIqe-")
"""Folder names as Dovecot stores them; the last two are modified UTF-7 (RFC 3501 5.1.3)."""

POLICY = SMTP.clone(cte_type="8bit")
START = datetime(2025, 1, 6, 8, 0, tzinfo=UTC)

WORDS = (  # noqa: SIM905 -- read by people
    "the invoice meeting report please find attached regards project customer delivery schedule server storage backup "
    "monday friday budget contract question answer update version release team office travel hotel flight order number "
    "price offer thanks hello draft review comment figure table summary minutes agenda deadline holiday lunch"
).split()

LANGUAGES = {
    "iso-8859-1": "für größere Änderungen über Straßen müßte natürlich später wäre schön Grüße Höhe Übergabe",
    "iso-8859-15": "naïve façade déjà œuvre élève à bientôt coûter 100 € très fâché garçon où être forêt",
    "windows-1252": "señor mañana niño “quoted” – dash … ellipsis corazón cigüeña Ångström smörgåsbord",
    "koi8-r": "привет письмо отчёт встреча договор сервер хранилище пожалуйста спасибо завтра утром",
    "windows-1251": "добрый день направляем счёт оплата поставка заказ номер вопрос ответ руководитель",
    "shift_jis": "会議 資料 お世話 になって おります 添付 ファイル 確認 よろしく お願い いたします",
    "big5": "會議 資料 請 參考 附件 謝謝 明天 上午 報告 客戶 專案 伺服器",
    "utf-8": "καλημέρα συνάντηση 🚀 naïve Größe письмо 会議 ✓ façade ñandú שלום مرحبا",
}


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail: the object key a mail store would give it, its bytes, and which builder made it."""

    key: str
    content: bytes
    kind: str


def mails(count: int, seed: int = 1, first: int = 0) -> Iterator[Mail]:
    """``count`` mails, from number ``first`` on. A mail depends on its number and the seed alone."""
    return (mail(number, seed) for number in range(first, first + count))


def mail(number: int, seed: int = 1) -> Mail:
    """Mail ``number``."""
    chance = random.Random(f"{seed}/{number}")
    size = _size(chance, number)
    kind = "attachments" if size > TEXT_LIMIT else chance.choice(sorted(BUILDERS))
    key = f"{chance.choice(USERS)}/mailboxes/{chance.choice(FOLDERS)}/dbox-Mails/u.{number + 1}"
    return Mail(key, BUILDERS[kind](chance, number, size), kind)


def _size(chance: random.Random, number: int) -> int:
    drawn = int(chance.lognormvariate(math.log(MEDIAN), SPREAD))
    return LARGE.get(number % 300, min(max(drawn, 300), 5_000_000))


# ---------------------------------------------------------------- text


def _prose(chance: random.Random, size: int, words: list[str]) -> str:
    """About ``size`` characters in wrapped paragraphs."""
    paragraphs: list[str] = []
    length = 0
    while length < size:
        wanted = min(chance.randint(150, 700), size - length)
        text = " ".join(chance.choices(words, k=max(wanted // 7, 1)))
        paragraphs.append(textwrap.fill(text.capitalize() + ".", 72))
        length += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs) + "\n"


def _html(chance: random.Random, size: int) -> str:
    rows = _prose(chance, max(size * 2 // 3, 100), WORDS).split("\n\n")
    cells = "\n".join(f'<tr><td style="font:14px/1.4 Arial;padding:8px">{row}</td></tr>' for row in rows)
    return f"<!DOCTYPE html>\n<html><body><table>\n{cells}\n</table></body></html>\n"


# ---------------------------------------------------------------- the envelope of every mail


def _blank(chance: random.Random, number: int) -> EmailMessage:
    """A message with the usual headers and no body."""
    message = EmailMessage(policy=POLICY)
    sender, receiver = chance.sample(USERS, 2)
    message["From"] = f"{sender.capitalize()} Müller <{sender}@example.org>"
    message["To"] = f"{receiver}@example.com"
    message["Subject"] = " ".join(chance.choices(WORDS, k=chance.randint(2, 9))).capitalize()
    message["Date"] = format_datetime(START + timedelta(minutes=17 * number))
    message["Message-ID"] = f"<{chance.getrandbits(64):016x}.{number}@example.org>"
    message["MIME-Version"] = "1.0"
    return message


def _finished(chance: random.Random, message: EmailMessage, top: list[bytes] | None = None) -> bytes:
    """The message's bytes below the lines a mail server adds. Boundaries are set here: the package draws its own from
    the global generator, which would make no two runs alike."""
    for part in message.walk():
        if part.is_multipart() and part.get_content_maintype() == "multipart":
            part.set_boundary(f"=_{chance.getrandbits(96):024x}")
    lines = [*_trace(chance), *(top or [])]
    return b"".join(line + b"\r\n" for line in lines) + message.as_bytes(policy=POLICY)


def _trace(chance: random.Random) -> list[bytes]:
    """Return-Path and Received (RFC 5321 4.4), and a signature folded over many lines (RFC 6376)."""
    lines = [b"Return-Path: <bounce@example.org>", b"Delivered-To: <user@example.com>"]
    for hop in range(chance.randint(1, 4)):
        name = f"mx{hop}.example.net".encode()
        lines += [
            b"Received: from " + name + b" (" + name + b" [192.0.2.%d])" % chance.randint(1, 254),
            b"\tby mail.example.com (Postfix) with ESMTPS id %X" % chance.getrandbits(40),
            b"\tfor <user@example.com>; Mon, 06 Jan 2025 08:%02d:%02d +0000" % (hop, chance.randint(0, 59)),
        ]
    signature = "%0172x" % chance.getrandbits(688)  # noqa: UP031
    lines.append(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=2025;")
    return lines + [b"\t " + line.encode() for line in textwrap.wrap(f"b={signature}", 70)]


# ---------------------------------------------------------------- kinds of mail


def _alternative(chance: random.Random, number: int, size: int) -> bytes:
    message = _blank(chance, number)
    message.set_content(_prose(chance, size // 3, WORDS))
    message.add_alternative(_html(chance, size // 2), subtype="html")
    return _finished(chance, message)


def _attachments(chance: random.Random, number: int, size: int) -> bytes:
    """Random binary in base64: nothing compresses, as with pictures and archives."""
    message = _blank(chance, number)
    message.set_content(_prose(chance, min(size // 4, 3_000), WORDS))
    pieces = chance.randint(1, 3)
    for piece in range(pieces):
        content = chance.randbytes(max((size - 2_500) * 73 // 100 // pieces, 64))
        name = chance.choice(("Angebot_März.pdf", "IMG_2041.jpg", "report.zip", "資料.xlsx"))
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=f"{piece}-{name}")
    return _finished(chance, message)


def _eight_bit(chance: random.Random, number: int, size: int) -> bytes:
    """Text in an old or new charset, sent as it is (8BITMIME)."""
    charset = chance.choice(sorted(LANGUAGES))
    message = _blank(chance, number)
    text = _prose(chance, size // 2, LANGUAGES[charset].split())
    message.set_content(_encodable(text, charset), charset=charset, cte="8bit")
    return _finished(chance, message)


def _quoted_printable(chance: random.Random, number: int, size: int) -> bytes:
    charset = chance.choice(("iso-8859-1", "utf-8", "koi8-r"))
    message = _blank(chance, number)
    text = _prose(chance, size // 3, LANGUAGES[charset].split())
    message.set_content(_encodable(text, charset), charset=charset, cte="quoted-printable")
    return _finished(chance, message)


def _encodable(text: str, charset: str) -> str:
    """Without what capitalising or joining made of letters the charset does not have."""
    return text.encode(charset, "ignore").decode(charset)


def _odd_headers(chance: random.Random, number: int, size: int) -> bytes:
    """What the standards frown upon and mail stores see every day."""
    message = _blank(chance, number)
    message.set_content(_prose(chance, max(size - 4_000, 200), WORDS))
    people = ",\r\n ".join(f'"{name}, Dr." <{name}{copy}@example.com>' for copy in range(40) for name in USERS[:2])
    top = [
        b"X-Empty:",
        b"X-Duplicate: one",
        b"X-Duplicate: two",
        b"X-DUPLICATE: three",
        b"Subject: a second subject that comes first",
        b"X-Raw-8bit: Gr\xfc\xdfe aus K\xf6ln",
        b"X-Folded-Blank: begins\r\n \r\n\tand goes on after an empty folded line",
        b"X-Very-Long: " + b"x" * chance.randint(800, 980),
        b"Cc: " + people.encode(),
        b"X-Encoded: " + Header("Überraschung: 会議 ✓ " * 6, "utf-8").encode(linesep="\r\n").encode(),
        b"X-Bad-Encoded: =?utf-8?Q?broken=ZZ?= =?nonsense?B?////?=",
        b"Date: Mon, 32 Foo 2025 25:61:61 +9999",
    ]
    return _finished(chance, message, top)


def _nested(chance: random.Random, number: int, size: int) -> bytes:
    """A forwarded mail, twice wrapped."""
    inner = _blank(chance, number + 1)
    inner.set_content(_prose(chance, size // 2, WORDS))
    middle = _blank(chance, number + 2)
    middle.set_content("Begin forwarded message:\n")
    middle.add_attachment(inner)
    message = _blank(chance, number)
    message.set_content(_prose(chance, size // 4, WORDS))
    message.add_attachment(middle)
    return _finished(chance, message)


def _invitation(chance: random.Random, number: int, size: int) -> bytes:
    """iTIP over mail (RFC 6047): the calendar as an alternative and as a file."""
    begin = START + timedelta(days=number % 300, hours=2)
    events = "".join(f"ATTENDEE;RSVP=TRUE:mailto:{name}@example.com\r\n" for name in USERS)
    calendar = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//example//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n"
        f"UID:{chance.getrandbits(64):x}@example.org\r\nDTSTART:{begin:%Y%m%dT%H%M%SZ}\r\nSUMMARY:Besprechung Größe\r\n"
        f"{events}END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    message = _blank(chance, number)
    message.set_content(_prose(chance, max(size - 4_500, 200), WORDS))
    message.add_alternative(calendar, subtype="calendar", params={"method": "REQUEST"})
    message.add_attachment(calendar.encode(), maintype="application", subtype="ics", filename="invite.ics")
    return _finished(chance, message)


def _newsletter(chance: random.Random, number: int, size: int) -> bytes:
    """HTML with a picture inside (multipart/related), and the headers of bulk mail (RFC 2369, RFC 8058)."""
    message = _blank(chance, number)
    message["List-Id"] = "News of the week <news.example.org>"
    message["List-Unsubscribe"] = f"<https://example.org/u/{chance.getrandbits(128):032x}>, <mailto:leave@example.org>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Precedence"] = "bulk"
    message.set_content(_prose(chance, size // 5, WORDS))
    message.add_alternative(_html(chance, size // 2), subtype="html", cte="quoted-printable")
    html = message.get_payload()[1]  # type: ignore[index]
    html.add_related(chance.randbytes(size // 6), "image", "png", cid="<logo@example.org>")  # type: ignore[union-attr]
    return _finished(chance, message)


BUILDERS: dict[str, Callable[[random.Random, int, int], bytes]] = {
    "alternative": _alternative,
    "attachments": _attachments,
    "eight-bit": _eight_bit,
    "quoted-printable": _quoted_printable,
    "odd-headers": _odd_headers,
    "nested": _nested,
    "invitation": _invitation,
    "newsletter": _newsletter,
}
