"""Our check of signatures beside botocore's signer: whatever it signs is let in, and nothing of what it signed can be
changed. Both by the ordinary way and by the hit lane, which remembers notations and must not let in by them what the
ordinary way refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import quote

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tests.s3api.lane.ground import DictNear, Ground
from tests.s3api.signed import CREDENTIALS, HOST, REGION, authenticator, refusal
from tierproxy.s3api.auth import SigV4
from tierproxy.s3api.dates import amz_date
from tierproxy.s3api.faults import STATUS
from tierproxy.s3api.request import Request
from tierproxy.testing.clock import VirtualClock

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sent:
    """A request as its bytes go over the wire. ``target``: path and query."""

    method: str
    target: bytes
    headers: Headers

    @property
    def request(self) -> Request:
        path, _, query = self.target.partition(b"?")
        return Request(self.method, path, query, self.raw)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Header lines as a parser of HTTP gives them: without white space around the values."""
        return [(name.lower().encode(), value.strip(" \t").encode()) for name, value in self.headers]


# ---------------------------------------------------------------- what is signed

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
STEPS = st.text(LETTERS, max_size=8) | st.sampled_from(
    [
        "",
        ".",
        "..",
        "%",
        "%2F",
        "a b",
        "a+b",
        "+",
        "//",
        "é",
        "e\u0301",
        "日本",
        "📧",
        "~*'()!",
        "a=b&c",
        "?",
        "#",
        "\\",
        "\n",
    ]
)
KEYS = st.lists(STEPS, min_size=1, max_size=4).map("/".join).filter(lambda key: 0 < len(key.encode()) < 300)
NOTATIONS: list[Callable[[str], str]] = [
    lambda text: quote(text, safe="/~"),  # as AWS documents it
    lambda text: quote(text, safe="/~!*'()$,:;@=+"),  # as curl and browsers write paths
    lambda text: (
        quote(text, safe="~").replace("%2F", "/").lower() if text.isascii() and not text.isalpha() else quote(text)
    ),
    lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
]
NAMES = st.sampled_from(["prefix", "marker", "x-id", "partNumber", "uploads", "response-content-type", "é", "a b", "~"])
TEXTS = st.text(LETTERS, max_size=8) | st.sampled_from(["", "a+b", "a b", "%", "=", "&", "a=b", "é", "/", "*'()!~"])
QUERIES = st.lists(st.tuples(NAMES, TEXTS), max_size=4, unique_by=lambda pair: pair[0])
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12) | st.sampled_from(
    ["a  b", "  a", "a\tb", "a, b", '"a   b"', "", "a:b"]
)
FIELDS = st.sampled_from(
    ["x-amz-meta-a", "X-Amz-Meta-B", "x-amz-acl", "Content-Type", "range", "x-tierproxy-owner", "If-Match"]
)
SIGNED = st.lists(st.tuples(FIELDS, VALUES), max_size=4)
MODES = st.sampled_from(
    ["digest", "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
     "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "query"]
)  # fmt: skip
ONCE = {"content-type", "range", "if-match", "x-tierproxy-owner", "x-amz-acl"}


class _Mode(S3SigV4Auth):
    def __init__(self, mode: str) -> None:
        super().__init__(CREDENTIALS, "s3", REGION)
        self._mode = mode

    def payload(self, request: AWSRequest) -> str:
        return str(super().payload(request)) if self._mode == "digest" else self._mode


@st.composite
def signed(
    draw: st.DrawFn, keys: st.SearchStrategy[str] = KEYS, methods: tuple[str, ...] = ("GET", "PUT", "DELETE")
) -> Sent:
    """What botocore signs."""
    notation = draw(st.sampled_from(NOTATIONS))
    path = "/mail/" + notation(draw(keys))
    pairs = draw(QUERIES)
    query = "&".join(
        f"{quote(name, safe='~')}={quote(value, safe=draw(st.sampled_from(['~', '~/+:'])))}" for name, value in pairs
    )
    target = f"{path}?{query}" if query else path
    mode = draw(MODES)
    asked = AWSRequest(draw(st.sampled_from(methods)), f"http://{HOST}{target}")
    asked.headers["Host"] = HOST
    for name, value in draw(SIGNED):
        if name.lower() not in ONCE or name not in asked.headers:
            asked.headers.add_header(name, value)
    signer = S3SigV4QueryAuth(CREDENTIALS, "s3", REGION, expires=900) if mode == "query" else _Mode(mode)
    signer.add_auth(asked)
    assert asked.url is not None
    assert asked.method is not None
    headers = tuple((name, str(value)) for name, value in asked.headers.items())
    event(mode)
    return Sent(asked.method, asked.url.removeprefix(f"http://{HOST}").encode(), headers)


def moment_of(sent: Sent) -> float:
    request = sent.request
    return amz_date(request.header("x-amz-date") or request.query.get("X-Amz-Date") or "")


def guard_of(sent: Sent) -> SigV4:
    """One that has seen nothing yet."""
    return authenticator(moment_of(sent))


# ---------------------------------------------------------------- what is not


def meaning(sent: Sent, names: list[bytes]) -> object:
    """What was signed, as anybody reads it. ``names``: of the signed headers. White space within a value is one space
    to a signature, wherever and however much of it there is: that much of a header can be changed, as with AWS."""
    request = sent.request
    pairs = sorted(
        pair for pair in request.query.pairs if pair[0] != "X-Amz-Signature" or "X-Amz-Algorithm" not in request.query
    )
    values = [b" ".join(request.headers.get(name, b"").split()) for name in names]
    return request.method, request.name, pairs, values


def names_of(sent: Sent) -> list[bytes]:
    authorization = {name.lower(): value for name, value in sent.headers}.get("authorization", "")
    listed = (
        authorization.partition("SignedHeaders=")[2].partition(",")[0]
        or sent.request.query.get("X-Amz-SignedHeaders")
        or ""
    )
    return listed.encode().split(b";")


def flipped(text: bytes, place: int, bit: int) -> bytes:
    at = place % len(text)
    return text[:at] + bytes([text[at] ^ (1 << bit)]) + text[at + 1 :]


def legal(sent: Sent) -> bool:
    """A parser of HTTP would let it pass."""
    target = all(0x21 <= byte <= 0x7E and byte != 0x23 for byte in sent.target)
    values = all(
        character == "\t" or 0x20 <= ord(character) <= 0x7E for _, value in sent.headers for character in value
    )
    return (
        target
        and values
        and sent.target.startswith(b"/")
        and all(name.replace("-", "").isalnum() for name, _ in sent.headers)
    )


def _header(sent: Sent, place: int, change: Callable[[str, str], Headers]) -> Sent:
    at = place % len(sent.headers)
    return replace(sent, headers=(*sent.headers[:at], *change(*sent.headers[at]), *sent.headers[at + 1 :]))


def _query(sent: Sent, change: Callable[[list[bytes]], list[bytes]]) -> Sent:
    path, _, query = sent.target.partition(b"?")
    pieces = change(query.split(b"&") if query else [])
    return replace(sent, target=path + (b"?" + b"&".join(pieces) if pieces else b""))


def _target(change: Callable[[bytes], bytes]) -> Callable[[Sent, int, int], Sent]:
    return lambda sent, at, bit: replace(sent, target=change(sent.target))


def _swapped(old: bytes, new: bytes, times: int = -1) -> Callable[[Sent, int, int], Sent]:
    return _target(lambda target: target.replace(old, new, times))


def _pieces(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Sent, int, int], Sent]:
    return lambda sent, at, bit: _query(sent, change)


def _one_header(change: Callable[[str, str, int, int], Headers]) -> Callable[[Sent, int, int], Sent]:
    return lambda sent, at, bit: _header(sent, at, lambda name, value: change(name, value, at // 7, bit))


def _slash_behind(target: bytes) -> bytes:
    path, mark, query = target.partition(b"?")
    return path + b"/" + mark + query


CHANGES: dict[str, Callable[[Sent, int, int], Sent]] = {
    "bit of the target": lambda sent, at, bit: replace(sent, target=flipped(sent.target, at, bit)),
    "bit of a value": _one_header(lambda name, value, at, bit: ((name, _bit_of(value, at, bit)),)),
    "bit of a name": _one_header(lambda name, value, at, bit: ((_bit_of(name, at, bit), value),)),
    "header gone": _one_header(lambda name, value, at, bit: ()),
    "header twice": _one_header(lambda name, value, at, bit: ((name, value), (name, value))),
    "header with more": _one_header(lambda name, value, at, bit: ((name, value), (name, "x"))),
    "header continued": _one_header(lambda name, value, at, bit: ((name, f"{value},x"),)),
    "headers in another order": lambda sent, at, bit: replace(sent, headers=tuple(reversed(sent.headers))),
    "another amz header": lambda sent, at, bit: replace(sent, headers=(*sent.headers, ("x-amz-meta-more", "x"))),
    "another method": lambda sent, at, bit: replace(sent, method={"GET": "PUT", "PUT": "GET"}.get(sent.method, "GET")),
    "slash behind": _target(_slash_behind),
    "slash doubled": _swapped(b"/", b"//", 1),
    "slash doubled in the key": _swapped(b"/mail/", b"/mail//", 1),
    "dot step": _swapped(b"/mail/", b"/mail/./", 1),
    "up and back": _swapped(b"/mail/", b"/mail/x/../", 1),
    "another bucket": _swapped(b"/mail/", b"/nail/", 1),
    "encoded twice": _swapped(b"%", b"%25"),
    "slash decoded": _swapped(b"%2F", b"/"),
    "slash encoded": _swapped(b"/mail/", b"/mail%2F", 1),
    "small hex": _target(lambda target: target.replace(b"%2F", b"%2f").replace(b"%C3", b"%c3")),
    "plus for space": _swapped(b"%20", b"+"),
    "space for plus": _swapped(b"+", b"%20"),
    "parameter more": _pieces(lambda pieces: [*pieces, b"versionId=1"]),
    "empty parameter": _pieces(lambda pieces: [*pieces, b"=x"]),
    "signature as a parameter": _pieces(lambda pieces: [*pieces, b"X-Amz-Signature=" + b"0" * 64]),
    "signature as a parameter, encoded": _pieces(lambda pieces: [*pieces, b"X-Amz-%53ignature=x"]),
    "parameter gone": _pieces(lambda pieces: pieces[1:]),
    "parameter twice": _pieces(lambda pieces: pieces + pieces[:1]),
    "parameters in another order": _pieces(lambda pieces: pieces[::-1]),
    "parameters run together": _swapped(b"&", b"%26", 1),
    "query in the path": _swapped(b"?", b"%3F", 1),
}


def _bit_of(text: str, at: int, bit: int) -> str:
    return flipped(text.encode(), at, bit).decode("latin-1") if text else "x"


def changed(sent: Sent, change: str, place: int, bit: int) -> Sent | None:
    """None: no parser of HTTP would let it pass, or it is what it was."""
    try:
        found = CHANGES[change](sent, place, bit)
        return found if found != sent and legal(found) else None
    except UnicodeDecodeError:
        return None


# ---------------------------------------------------------------- the ordinary way


@settings(max_examples=100, deadline=None, derandomize=True)
@given(signed())
def test_whatever_botocore_signs_is_let_in(sent: Sent) -> None:
    assume(legal(sent))
    assert guard_of(sent).admit(sent.request).signed


@settings(max_examples=200, deadline=None, derandomize=True)
@given(signed(), st.sampled_from(sorted(CHANGES)), st.integers(0, 10_000), st.integers(0, 7))
def test_nothing_of_what_was_signed_can_be_changed(sent: Sent, change: str, place: int, bit: int) -> None:
    assume(legal(sent))
    other = changed(sent, change, place, bit)
    assume(other is not None and refusal(lambda: other.request) is None)
    assert other is not None
    guard = guard_of(sent)
    guard.admit(sent.request)  # what is remembered of it is of no use to another
    code = refusal(lambda: guard.admit(other.request))
    event("means the same" if code is None else "refused")
    if code is None:
        names = names_of(sent)
        assert meaning(other, names) == meaning(sent, names), change
    else:
        assert STATUS[code] in {400, 403}, code


@settings(max_examples=60, deadline=None, derandomize=True)
@given(signed(), st.integers(0, 63), st.integers(0, 3))
def test_no_bit_of_the_signature_can_be_changed(sent: Sent, place: int, bit: int) -> None:
    assume(legal(sent))
    text = dict(sent.headers).get("Authorization", "") or sent.target.decode()
    at = (
        text.index("Signature=", text.rindex("Signature=") if "Authorization" in dict(sent.headers) else 0) + 10 + place
    )
    digit = f"{int(text[at], 16) ^ (1 << bit):x}"
    other = text[:at] + digit + text[at + 1 :]
    if "Authorization" in dict(sent.headers):
        wrong = replace(
            sent, headers=tuple((name, other if name == "Authorization" else value) for name, value in sent.headers)
        )
    else:
        wrong = replace(sent, target=other.encode())
    assert refusal(lambda: guard_of(sent).admit(wrong.request)) == "SignatureDoesNotMatch"


# ---------------------------------------------------------------- the lane


class _Everything(DictNear):
    """Every key there is."""

    def find(self, name):  # type: ignore[no-untyped-def]
        if name not in self.objects:
            self.put(name.key, name.key.encode())
        return super().find(name)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(signed(methods=("GET", "HEAD")), st.sampled_from(sorted(CHANGES)), st.integers(0, 10_000), st.integers(0, 7))
def test_the_lane_lets_in_nothing_that_the_ordinary_way_refuses(sent: Sent, change: str, place: int, bit: int) -> None:
    assume(legal(sent))
    other = changed(sent, change, place, bit)
    assume(other is not None)
    assert other is not None
    moment = moment_of(sent)
    ground = Ground(near=_Everything(), keys=guard_of(sent), clock=VirtualClock(moment))
    for one in (sent, other, sent, other):
        pieces = ground.lane.answer(one.method.encode(), one.target, one.raw, "::1", b"")
        if pieces is None:
            event("declined")
            continue
        event("answered")
        request = one.request
        assert authenticator(moment).admit(request).signed, "the ordinary way would have refused it"
        if one.method == "GET" and pieces[0].startswith(b"HTTP/1.1 200"):
            assert b"".join(pieces[1:]) == request.key.encode(), "the answer is another object's"
