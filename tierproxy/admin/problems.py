"""Errors as problem documents (RFC 9457): code, title, detail, hint; never a stack."""

from __future__ import annotations

import http
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tierproxy import errors
from tierproxy.admin.callers import NotAllowed, NotLoggedIn
from tierproxy.admin.jobs import NoSuchJob
from tierproxy.desk.wishes import NoShadow, NoSuchRun, NoSuchVersion, Overtaken, WrongWish
from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.wire.base import Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Refused(TierproxyError):
    """A request the door does not let in. ``status``: of HTTP; ``retry_after``: seconds."""

    def __init__(self, status: int, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


_STATUS: dict[type[TierproxyError], int] = {
    NotLoggedIn: 401,
    NotAllowed: 403,
    errors.ConfigError: 422,
    errors.DataDirectoryInUse: 409,
    errors.NoSuchBucket: 404,
    errors.NoSuchKey: 404,
    errors.NoSuchUpload: 404,
    errors.BucketExists: 409,
    errors.BucketNotEmpty: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.RequestError: 400,
    errors.OutOfSpace: 507,
    errors.DiskError: 503,
    errors.AltRefused: 502,
    errors.AltCorrupt: 502,
    errors.AltError: 503,
    errors.StaleGeneration: 409,
    errors.LostInAlt: 502,
    errors.Unreadable: 502,
    errors.Busy: 503,
    errors.ShuttingDown: 503,
    WrongWish: 422,
    NoSuchVersion: 404,
    NoSuchRun: 404,
    NoSuchJob: 404,
    NoShadow: 404,
    Overtaken: 409,
    TierproxyError: 500,
}
"""Looked up along the class's bases, so that a new kind of error has a status before anybody adds a row for it."""


def problem_of(error: TierproxyError) -> Problem:
    """What an operator is told of ``error``; ``code`` is its class's name."""
    status = error.status if isinstance(error, Refused) else _status_of(error)
    code = http.HTTPStatus(status).phrase.replace(" ", "") if isinstance(error, Refused) else type(error).__name__
    return Problem(title=_title(status), status=status, code=code, detail=str(error), hint=error.hint)


def _status_of(error: TierproxyError) -> int:
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(problem.model_dump_json(), problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def answer_to(error: TierproxyError) -> Response:
    """``problem_of`` as a response, with Retry-After where trying again may help and the challenge of a 401."""
    problem, headers = problem_of(error), {}
    wait = error.retry_after if isinstance(error, Refused) else 1 if problem.status == 503 else None
    if wait is not None:
        headers["retry-after"] = str(max(1, round(wait)))
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    return answer(problem, headers)


def internal_error() -> Response:
    """For a defect: the log has the rest."""
    return answer(
        Problem(title=_title(500), status=500, code="InternalError", detail="the node met an error it did not expect",
                hint="the node's log says more")
    )  # fmt: skip


def install(app: FastAPI) -> None:
    """Every error that leaves a router becomes a problem document."""
    app.add_exception_handler(TierproxyError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, TierproxyError)
    response = answer_to(error)
    if response.status_code >= 500:
        event(log, logging.WARNING, "admin request failed", path=request.url.path, error=error)
    return response


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    texts = [readable(fault) for fault in error.errors()]
    return answer(
        Problem(title=_title(422), status=422, code="Invalid", detail="; ".join(texts[:5]), errors=texts)
    )  # fmt: skip


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = http.HTTPStatus(error.status_code).phrase.replace(" ", "")
    problem = Problem(
        title=_title(error.status_code), status=error.status_code, code=code, detail=str(error.detail or "")
    )
    return answer(problem, error.headers)


async def _broken(_request: Request, _error: Exception) -> Response:
    """The doorkeeper logs it: Starlette raises it again after this answer."""
    return internal_error()


def readable(fault: Mapping[str, Any]) -> str:
    """``body.days: Input should be greater than 0``: where and what, without the value, which may be a secret."""
    return f"{_place(fault.get('loc', ()))}: {fault.get('msg', 'is not valid')}"


def _place(steps: Sequence[Any] | Iterable[Any]) -> str:
    return ".".join(str(step) for step in steps) or "request"


def _title(status: int) -> str:
    return http.HTTPStatus(status).phrase


def described(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` (OpenAPI) with the problem document as the answer for everything that is not a success."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = json.loads(json.dumps(Problem.model_json_schema()))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in document.get("paths", {}).values():
        for operation in methods.values():
            responses = operation.setdefault("responses", {})
            for status in [status for status in responses if status.startswith(("4", "5"))]:
                responses[status] = {"description": responses[status]["description"], "content": content}
            responses["default"] = {"description": "What went wrong.", "content": content}
    return document
