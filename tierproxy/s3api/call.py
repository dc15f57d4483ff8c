"""What a handler is given: the port with its dependencies, and one call of it; and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tierproxy.config.sections import ListenSection
from tierproxy.model import Ack
from tierproxy.ports import Clock
from tierproxy.s3api.auth import Admission
from tierproxy.s3api.exchange import Exchange, HeaderList
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.ports import Store
from tierproxy.s3api.request import Request
from tierproxy.shares import Places


@dataclass(frozen=True, slots=True)
class Port:
    """The object port's dependencies. ``folder_class``: the class of a folder by the name a request gives it."""

    store: Store
    listen: ListenSection
    clock: Clock
    folder_class: Callable[[str], str]


DOCUMENTS = 64 * 2**20  #: bytes of documents that are being read at once


def documents() -> Places:
    """For all requests of one port."""
    return Places(DOCUMENTS, spare=DOCUMENTS // 4)


@dataclass(slots=True)
class Call:
    """One admitted request. ``id`` is its x-amz-request-id; ``begun``: when the answer with an object began (monotonic
    seconds); ``documents``: bytes of XML that all requests together may have in memory."""

    request: Request
    exchange: Exchange
    admission: Admission
    id: str
    begun: float | None = None
    documents: Places = field(default_factory=documents)

    @property
    def client(self) -> str:
        """The access key id; "" where nobody is asked. More of it: ``tierproxy.s3api.visiting``."""
        return self.admission.identity.access_key_id

    @property
    def grants(self) -> Grants:
        return self.admission.identity.grants

    @property
    def ack(self) -> Ack | None:
        """x-tierproxy-ack; None leaves it to the configuration. Raises S3Error InvalidArgument."""
        text = self.request.header("x-tierproxy-ack")
        if text is None:
            return None
        try:
            return Ack(text.lower())
        except ValueError:
            raise S3Error("InvalidArgument", "x-tierproxy-ack must be both, disk or alt.") from None


@dataclass(slots=True)
class Answer:
    """A response whose body is at hand."""

    status: int = 200
    headers: HeaderList = field(default_factory=list)
    body: bytes = b""


XML_TYPE = (b"content-type", b"application/xml")


def xml_answer(body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(200, [XML_TYPE, *headers], body)
