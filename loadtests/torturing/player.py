"""A client that does everything S3 lets it do, and remembers what it was promised."""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from urllib.parse import quote

from ledger import GONE, Ledger, digest

from tierproxy.cli.client import Door, Unreachable
from tierproxy.errors import NoSuchKey, PreconditionFailed, RequestError, TierproxyError
from tierproxy.model import ObjectName
from tierproxy.ports import Clock
from torturing.contents import Contents, Written
from torturing.tally import Tally, Wrong
from torturing.wide_client import WideClient

MOST_KEYS = 45  #: of one client; beyond that it deletes more than it writes
PART = 5 * 2**20  #: bytes of a part that is not the last
URGED = 0.25  #: share of operations that bring the node to its point
PAUSE = 0.02  #: seconds after an error
NAMES = ("u.{}", "dbox-Mails/u.{}", "ümlaut und leer {}", "a+b&c={}", "%41/{}", "日本/{}")
PASSING = ("403", "503", "507")  #: statuses in words of an error that says: not now


class Player:
    """One client. Its keys are its own, so it knows the order of their changes. ``door``: where the node is now, None:
    nowhere; ``clock``: by which requests are signed; ``large``: uploads in parts often, and of several."""

    def __init__(
        self, number: int, seed: int, ledger: Ledger, contents: Contents, buckets: Sequence[str], clock: Clock,
        *, large: bool = False,
    ) -> None:  # fmt: skip
        self.number = number
        self.keys: list[str] = []
        self._chance = random.Random(f"{seed}/{number}")
        self._ledger = ledger
        self._contents = contents
        self._buckets = buckets
        self._clock = clock
        self._written: dict[str, Written] = {}  #: by digest; what can be made again
        self._ever: set[str] = set()  #: digests of everything sent
        self._plain: dict[str, str] = {}  #: key to ETag, where a plain PUT was acknowledged last
        self._serial = 0  #: of contents
        self._names = 0  #: of keys
        self._round = 0
        self._tally = Tally()
        self._actions: list[tuple[int, Callable[[WideClient], None]]] = [
            (24, self._deliver), (12, self._overwrite), (7, self._create_only), (5, self._match), (24, self._read),
            (12, self._range), (8, self._head), (9, self._delete), (2, self._delete_some), (5, self._copy),
            (9 if large else 3, self._multipart), (1, self._give_up_upload), (3, self._list),
        ]  # fmt: skip
        self._fillers = 0.5 if large else 0.15
        self._urged: Callable[[WideClient], None] | None = None
        self._urges: dict[str, Callable[[WideClient], None]] = {
            "put_stream": self._stream, "copy": self._copy, "add_upload": self._multipart, "add_part": self._multipart,
            "remove_upload": self._give_up_upload, "settle": self._overwrite, "suspect": self._overwrite,
            "tombstone": self._delete, "forget": self._delete, "delete": self._delete, "unlink": self._overwrite,
            "fill": self._read, "learn": self._read, "drop_blob": self._read,
        }  # fmt: skip

    def urge(self, kind: str) -> None:
        """From now on often what brings the node to calls of ``kind`` (of ``doomed``)."""
        self._urged = self._urges.get(kind)

    def __repr__(self) -> str:
        return f"<Player {self.number} with {len(self.keys)} keys>"

    def play(self, door: Callable[[], Door | None], tally: Tally, stop: threading.Event) -> None:
        """Until ``stop``, whatever happens to the node."""
        self._tally, self._round = tally, self._round + 1
        while not stop.is_set():
            found = door()
            if found is None:
                stop.wait(PAUSE)
                continue
            with closing(WideClient(found, clock=self._clock)) as client:
                while not stop.is_set() and door() == found:
                    self._step(client, stop)

    def _step(self, client: WideClient, stop: threading.Event) -> None:
        weights, actions = zip(*self._actions, strict=True)
        if self._urged is not None and self._chance.random() < URGED:
            action = self._urged
        else:
            action = self._delete if len(self.keys) > MOST_KEYS else self._chance.choices(actions, weights)[0]
        try:
            action(client)
        except (Unreachable, http.client.HTTPException, OSError):
            self._tally.ended(unanswered=1)
            stop.wait(PAUSE)
        except RequestError as error:
            if any(f": {status} " in str(error) for status in PASSING):
                self._tally.ended(refused=1)
            else:
                self._tally.fail(Wrong.BROKEN, f"client {self.number}: {type(error).__name__}: {error}")
            stop.wait(PAUSE)
        except TierproxyError as error:
            self._tally.fail(Wrong.BROKEN, f"client {self.number}: {type(error).__name__}: {error}")

    # ---------------------------------------------------------------- choosing

    def _new_key(self) -> str:
        self._names += 1
        name = self._chance.choice(NAMES).format(self._names)
        key = f"{self._chance.choice(self._buckets)}/user{self.number}/{self._round}/{name}"
        self.keys.append(key)
        self._ledger.name(key)
        return key

    def _certain(self) -> str | None:
        """A key that must be there, with one content."""
        sure = [key for key in self._ledger.certain(self.keys) if len(self._ledger.allowed[key]) == 1]
        return self._chance.choice(sure) if sure else None

    def _any(self) -> str | None:
        return self._chance.choice(self.keys) if self.keys else None

    def _content(self, key: str, *, long: bool = False) -> tuple[Written, bytes]:
        self._serial += 1
        make = self._contents.make_long if long else self._contents.make
        written, content = make(self._chance, f"{self.number}/{self._serial} {quote(key)}")
        self._written[written.digest] = written
        self._ever.add(written.digest)
        return written, content

    # ---------------------------------------------------------------- writing

    def _deliver(self, client: WideClient) -> None:
        self._put(client, self._new_key(), "PUT")

    def _overwrite(self, client: WideClient) -> None:
        key = self._any()
        if key is not None:
            self._put(client, key, "PUT over another")

    def _stream(self, client: WideClient) -> None:
        """Too long for memory and not for the disk: it passes through."""
        self._put(client, self._any() or self._new_key(), "PUT around", {"x-tierproxy-ack": "alt"}, long=True)

    def _put(
        self, client: WideClient, key: str, what: str, more: dict[str, str] | None = None, *, long: bool = False
    ) -> None:  # fmt: skip
        written, content = self._content(key, long=long)
        headers = dict(more or {})
        dice = self._chance.random()
        if dice < 0.45 and "x-tierproxy-ack" not in headers:
            headers["x-tierproxy-ack"] = "disk" if dice < 0.35 else "alt"
        before = set(self._ledger.allowed.get(key, {GONE}))
        self._tally.did(what)
        self._plain.pop(key, None)
        self._ledger.intend(key, written.digest)
        try:
            answer = client.put(named(key), content, len(content), headers)
        except PreconditionFailed:
            self._ledger.withdraw(key, written.digest, before)
            raise
        self._acknowledged(key, written.digest, what)
        self._plain[key] = written.etag
        if answer.headers.get("etag", "").strip('"') != written.etag:
            self._tally.fail(Wrong.BYTES, f"the answer to a PUT has the ETag {answer.headers.get('etag')}", key)

    def _create_only(self, client: WideClient) -> None:
        """If-None-Match: * on a new key, or on one that is there."""
        key = self._certain() if self._chance.random() < 0.4 else None
        try:
            self._put(client, key or self._new_key(), "PUT if-none-match", {"if-none-match": "*"})
        except PreconditionFailed:
            if key is None:
                self._tally.fail(Wrong.BROKEN, "412 for a key nobody ever wrote", self.keys[-1])
            return
        if key is not None:
            self._tally.fail(Wrong.LOST, "If-None-Match: * was answered 200 over an object that is there", key)

    def _match(self, client: WideClient) -> None:
        """If-Match with the right ETag, or with another one."""
        key = self._certain()
        if key is None or key not in self._plain:
            return
        right, etag = self._chance.random() < 0.6, self._plain[key]
        try:
            self._put(client, key, "PUT if-match", {"if-match": f'"{etag if right else "0" * 32}"'})
        except PreconditionFailed:
            self._plain[key] = etag
            if right:
                self._tally.fail(Wrong.LOST, "412 for the ETag that was acknowledged last", key)
            return
        if not right:
            self._tally.fail(Wrong.LOST, "If-Match of another ETag was answered 200", key)

    def _copy(self, client: WideClient) -> None:
        source = self._certain()
        if source is None:
            return
        target = self._new_key()
        content = next(iter(self._ledger.allowed[source]))
        self._tally.did("copy")
        self._ledger.intend(target, content)
        client.copy(named(source), named(target))
        self._acknowledged(target, content, "copy")

    def _multipart(self, client: WideClient) -> None:
        key = self._new_key()
        written, content = self._content(key)
        pieces = [content]
        if self._chance.random() < self._fillers:
            filler = random.Random(self._serial).randbytes(PART)
            pieces, content = [filler, content], filler + content
            written = Written(digest(content), len(content), b"", -1)  # too long to be made again
            self._ever.add(written.digest)
        self._tally.did("multipart")
        upload = client.begin_upload(named(key))
        etags = [client.put_part(named(key), upload, number, piece) for number, piece in enumerate(pieces, 1)]
        self._ledger.intend(key, written.digest)
        client.complete(named(key), upload, etags)
        self._acknowledged(key, written.digest, "multipart")

    def _give_up_upload(self, client: WideClient) -> None:
        """An upload that is never completed; half of them are aborted, the others left to the end of the round."""
        name = named(self._new_key())
        self.keys.pop()
        self._tally.did("multipart given up")
        upload = client.begin_upload(name)
        client.put_part(name, upload, 1, b"never to be seen")
        if self._chance.random() < 0.5:
            client.abort(name, upload)

    # ---------------------------------------------------------------- deleting

    def _delete(self, client: WideClient) -> None:
        key = self._any()
        if key is None:
            return
        self._tally.did("DELETE")
        self._plain.pop(key, None)
        self._ledger.intend(key, GONE)
        client.delete(named(key))
        self._acknowledged(key, GONE, "DELETE")
        if len(self.keys) > MOST_KEYS:
            self.keys.remove(key)

    def _delete_some(self, client: WideClient) -> None:
        first = self._any()
        if first is None:
            return
        bucket = named(first).bucket
        mine = [key for key in self.keys if named(key).bucket == bucket]
        chosen = self._chance.sample(mine, min(3, len(mine)))
        self._tally.did("DELETE several")
        for key in chosen:
            self._plain.pop(key, None)
            self._ledger.intend(key, GONE)
        gone = client.delete_many(bucket, [named(key).key for key in chosen])
        for key in chosen:
            if named(key).key in gone:
                self._acknowledged(key, GONE, "DELETE several")

    def _acknowledged(self, key: str, digest: str, what: str) -> None:
        self._ledger.acknowledge(key, digest, what)
        self._tally.ended(acknowledged=1)

    # ---------------------------------------------------------------- reading

    def _read(self, client: WideClient) -> None:
        key = self._any()
        if key is None:
            return
        self._tally.did("GET")
        with self._absence(key):
            _, content = client.read(named(key))
            self._judge(key, digest(content))

    def _range(self, client: WideClient) -> None:
        key = self._any()
        if key is None:
            return
        known = [self._written[one] for one in self._ledger.allowed[key] if one in self._written]
        if len(known) != len(self._ledger.allowed[key] - {GONE}) or not known:
            return
        size = min(one.size for one in known)
        first = self._chance.randrange(size)
        last = min(size - 1, first + self._chance.choice((0, 100, 5000, 400_000)))
        self._tally.did("GET range")
        with self._absence(key):
            _, content = client.part(named(key), first, last)
            if content not in [self._contents.again(one)[first : last + 1] for one in known]:
                self._tally.fail(Wrong.BYTES, f"bytes {first}-{last} are {len(content)} other ones", key)

    def _head(self, client: WideClient) -> None:
        key = self._any()
        if key is None:
            return
        self._tally.did("HEAD")
        known = [self._written.get(one) for one in self._ledger.allowed[key] if one != GONE]
        with self._absence(key):
            size = int(client.head(named(key)).headers["content-length"])
            if None not in known and size not in [one.size for one in known if one is not None]:
                self._tally.fail(Wrong.BYTES, f"HEAD says {size} bytes", key)

    def _list(self, client: WideClient) -> None:
        """Everything that must be there is listed, nothing that must not be."""
        bucket = self._chance.choice(self._buckets)
        prefix = f"user{self.number}/"
        self._tally.did("LIST")
        listed = {f"{bucket}/{one.key}" for one in client.objects(bucket, prefix)}
        for key in self.keys:
            allowed = self._ledger.allowed.get(key, {GONE})
            if named(key).bucket == bucket:
                if key not in listed and GONE not in allowed:
                    self._tally.fail(Wrong.LOST, "is not listed", key)
                if key in listed and allowed == {GONE}:
                    self._tally.fail(Wrong.RESURRECTED, "is listed", key)

    def _judge(self, key: str, found: str) -> None:
        allowed = self._ledger.allowed[key]
        if found not in allowed:
            self._tally.fail(*judged(found, allowed, known=found in self._ever), key)

    @contextmanager
    def _absence(self, key: str) -> Iterator[None]:
        """404 is an answer, too."""
        try:
            yield
        except NoSuchKey:
            self._judge(key, GONE)


def named(key: str) -> ObjectName:
    """The object of a key of the ledger."""
    bucket, _, rest = key.partition("/")
    return ObjectName(bucket, rest)


def judged(found: str, allowed: set[str], *, known: bool) -> tuple[Wrong, str]:
    """What it means that a key has ``found``, which it may not have. ``known``: somebody once wrote these bytes."""
    if found == GONE:
        return Wrong.LOST, "is not there"
    if allowed == {GONE}:
        return Wrong.RESURRECTED, f"is there again: {found[:12]}"
    return (Wrong.LOST, f"has older content {found[:12]}") if known else (Wrong.BYTES, f"has bytes {found[:12]}")
