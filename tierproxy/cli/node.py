"""The far way of commands: the admin port of the node that runs on the data directory, when there is one."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, TypeAdapter, ValidationError

from tierproxy import errors
from tierproxy.admin.local import LocalDoor
from tierproxy.catalogue import CatalogueReader, open_reader
from tierproxy.cli.settings import calmly, data_directory
from tierproxy.cli.trust import own_certificate
from tierproxy.config.sections import Config
from tierproxy.desk import wishes
from tierproxy.errors import AltUnavailable, Busy, ConfigError, NoSuchKey, RequestError, TierproxyError
from tierproxy.wire.base import Problem, Question

T = TypeVar("T")
Q = TypeVar("Q", bound=Question)
ROOT = "/api"
SOON = 1.0  #: seconds in which a node that runs answers
PATIENT = 600.0  #: seconds for an answer that takes a look at everything
LARGEST = 64 * 2**20  #: bytes of an answer


class Unreachable(AltUnavailable):
    """The node's admin port does not answer."""

    hint = "is the node busy, or was it stopped just now? try again"


class Untrusted(ConfigError):
    """The node's admin port shows another certificate than the one it should."""

    hint = "[admin] tls_certificate names the file; the node takes a new one within seconds, or see its log"


class Refused(ConfigError):
    """The node does not let this token in."""

    hint = "give the token of an account that may do this"


class Line:
    """The connection of a stream, for whoever does not want to hear more of it while a thread waits for its next
    word."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._cut = False

    def hold(self, connected: socket.socket) -> None:
        self._socket = connected
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """any thread. The stream ends at once. Never raises."""
        self._cut = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class NodeClient:
    """Requests to one node's admin port. Every method raises the error that the node told of, as its own kind where it
    has a name here (so that exit codes are those of the near way), and Unreachable."""

    def __init__(self, door: LocalDoor) -> None:
        self.url = door.url
        self._door = door

    def __repr__(self) -> str:
        return f"<NodeClient {self.url}>"

    def get(self, kind: type[T], path: str, /, **query: str | float | bool | None) -> T:
        """The document at ``path`` (below /api). Of ``query`` those are sent that are not None."""
        return _parsed(kind, self._whole("GET", path + _query(query)))

    def post(self, kind: type[T], path: str, question: BaseModel | None = None) -> T:
        """What the node answers to ``question``."""
        body = question.model_dump_json() if question is not None else "{}"
        return _parsed(kind, self._whole("POST", path, body.encode()))

    def send(self, path: str, question: BaseModel | None = None) -> None:
        """As ``post``, where there is nothing to be told (204)."""
        body = question.model_dump_json() if question is not None else "{}"
        self._whole("POST", path, body.encode())

    def events(self, path: str, line: Line | None = None) -> Iterator[tuple[str, Any]]:
        """Name and JSON of each server-sent event, until the node ends the stream or ``line`` is cut."""
        with self._answer("GET", path, None, PATIENT, line) as answer:
            yield from _events(answer)

    def answers(self) -> bool:
        """Within a second, and lets this token in. Raises Untrusted: to go on without a node that is there, because of
        its certificate, would hide that."""
        try:
            with self._answer("GET", "/session", None, SOON) as answer:
                answer.read(LARGEST)
        except Untrusted:
            raise
        except TierproxyError:
            return False
        return True

    def _whole(self, method: str, path: str, body: bytes | None = None) -> bytes:
        with self._answer(method, path, body, PATIENT) as answer:
            return answer.read(LARGEST)

    @contextmanager
    def _answer(
        self, method: str, path: str, body: bytes | None, timeout: float, line: Line | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {"authorization": f"Bearer {self._door.token}", "accept": "application/json, text/event-stream"}
        if body is not None:
            headers["content-type"] = "application/json"
        with closing(self._connect(timeout)) as connection:
            try:
                connection.request(method, ROOT + path, body, headers)
                if line is not None:
                    line.hold(connection.sock)
                answer = connection.getresponse()
                if answer.status >= 400:
                    raise _error(answer.status, answer.read(LARGEST))
                yield answer
            except ssl.SSLCertVerificationError as error:
                raise Untrusted(f"the node at {self.url} cannot be trusted: {error.verify_message}") from error
            except (http.client.HTTPException, OSError) as error:
                raise Unreachable(f"no answer from the node at {self.url}: {error}") from error

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        place = urlsplit(self.url)
        host = place.hostname or "localhost"
        if place.scheme != "https":
            return http.client.HTTPConnection(host, place.port, timeout=timeout)
        try:
            trust = own_certificate(self._door.certificate) if self._door.certificate else ssl.create_default_context()
        except OSError as error:
            raise Untrusted(f"cannot use the node's certificate {self._door.certificate}: {error}") from error
        return http.client.HTTPSConnection(host, place.port, timeout=timeout, context=trust)


def far(config: Config) -> NodeClient | None:
    """The node that runs on the data directory of ``config``; None: there is none, or its admin port is not to be
    had within a second."""
    door = LocalDoor.read(data_directory(config))
    if door is None or not _alive(door.pid):
        return None
    node = NodeClient(door)
    return node if node.answers() else None


def near(config: Config, look: Callable[[CatalogueReader], T]) -> T:
    """What ``look`` finds in the data directory, at low priority: a node may run beside."""
    with open_reader(data_directory(config)) as catalogue:
        return calmly(lambda: look(catalogue), catalogue.interrupt)


def wish(kind: type[Q], /, **fields: Any) -> Q:
    """A question to a node. Raises RequestError when it cannot be asked so."""
    try:
        return kind(**fields)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise RequestError("; ".join(faults)) from error


def _alive(pid: int) -> bool:
    """Process 0 is never ours. A process of another user is alive."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return Path(f"/proc/{pid}").exists()
    return True


def _query(query: dict[str, str | float | bool | None]) -> str:
    said = {name: _word(value) for name, value in query.items() if value is not None}
    return f"?{urlencode(said)}" if said else ""


def _word(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(kind: type[T], text: bytes) -> T:
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        hint = "is it of another version? `tierproxy --version` and the node's should be the same"
        raise TierproxyError("the node's answer cannot be understood", hint=hint) from error


def _events(lines: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            found = json.loads(text.removeprefix("data: "))
            if name == "problem":
                raise _told(Problem.model_validate(found))
            yield name, found
        elif not text:
            name = ""


def _error(status: int, text: bytes) -> TierproxyError:
    try:
        return _told(Problem.model_validate_json(text))
    except ValidationError:
        return TierproxyError(f"the node answered {status}")


def _told(problem: Problem) -> TierproxyError:
    """The node's error, as the kind it has here."""
    kind = getattr(errors, problem.code, None) or getattr(wishes, problem.code, None) or _ELSEWHERE.get(problem.code)
    if not (isinstance(kind, type) and issubclass(kind, TierproxyError)) or kind is errors.RangeUnsatisfiable:
        kind = _BY_STATUS.get(problem.status, TierproxyError)
    text = "; ".join(problem.errors) or problem.detail or problem.title
    return kind(text, hint=problem.hint)


_ELSEWHERE: dict[str, type[TierproxyError]] = {"Unusable": ConfigError}

_BY_STATUS: dict[int, type[TierproxyError]] = {
    400: RequestError,
    401: Refused,
    403: Refused,
    404: NoSuchKey,
    409: RequestError,
    413: RequestError,
    422: RequestError,
    429: Busy,
    503: Busy,
}
