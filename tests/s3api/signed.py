"""Requests signed by botocore's own signer, as the object port would see them."""

from __future__ import annotations

from collections.abc import Callable

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tierproxy.errors import BadBody
from tierproxy.s3api.auth import AccessKey, SigV4
from tierproxy.s3api.dates import amz_date
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.request import Request
from tierproxy.testing.clock import VirtualClock

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "us-east-1"
KEY = AccessKey(ACCESS_KEY, SECRET, Grants.of(["*"], "write"))
CREDENTIALS = Credentials(ACCESS_KEY, SECRET)
HOST = "127.0.0.1:9300"


def request(method: str, target: str, headers: dict[str, str] | None = None, domain: str = "") -> Request:
    """A request as it comes over the wire: ``target`` is path and query."""
    path, _, query = target.partition("?")
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request(method, path.encode(), query.encode(), raw, domain)


def by_header(method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Request:
    """``target`` signed in the Authorization header."""
    wanted = AWSRequest(method, f"http://{HOST}{target}", headers={"Host": HOST, **(headers or {})}, data=body)
    S3SigV4Auth(CREDENTIALS, "s3", REGION).add_auth(wanted)
    return request(method, target, dict(wanted.headers.items()))


def by_query(method: str, target: str, headers: dict[str, str] | None = None, expires: int = 3600) -> Request:
    """``target`` presigned."""
    wanted = AWSRequest(method, f"http://{HOST}{target}", headers={"Host": HOST, **(headers or {})})
    S3SigV4QueryAuth(CREDENTIALS, "s3", REGION, expires=expires).add_auth(wanted)
    assert wanted.url is not None
    return request(method, wanted.url.removeprefix(f"http://{HOST}"), {"Host": HOST, **(headers or {})})


def moment_of(wanted: Request) -> float:
    """When it was signed."""
    return amz_date(wanted.header("x-amz-date") or wanted.query.get("X-Amz-Date") or "")


def authenticator(moment: float, region: str = REGION, key: AccessKey = KEY) -> SigV4:
    return SigV4([key], region, VirtualClock(moment))


def refusal(call: Callable[[], object]) -> str | None:
    """The code of the S3Error or BadBody that ``call`` raises, None if it returns. Anything else is passed on."""
    try:
        call()
    except (S3Error, BadBody) as error:
        return error.code
    return None
