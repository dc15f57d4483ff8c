"""The probe keeps a server's rules and shows what happens between the app and its client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tierproxy.testing.probe import App, Ending, Probe

Send = Callable[[Any], Awaitable[None]]


def answering(*messages: dict[str, Any]) -> App:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(length: int | None = None, status: int = 200) -> dict[str, Any]:
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_a_whole_answer_is_whole() -> None:
    answer = await Probe(answering(start(5), body(b"12", more=True), body(b"345"))).get("/")
    assert (answer.status, answer.body, answer.pieces, answer.ending) == (200, b"12345", (b"12", b"345"), Ending.WHOLE)


@pytest.mark.parametrize(
    "messages",
    [
        (start(5), body(b"1234")),
        (start(5), body(b"123456")),
        (start(), start()),
        (start(3), body(b"12", more=True)),
    ],
)
async def test_more_or_less_than_promised_is_a_broken_answer(messages: tuple[dict[str, Any], ...]) -> None:
    async with Probe(answering(*messages)).call("GET", "/") as call:
        assert await call.ended() is Ending.CUT


async def test_what_an_app_sends_after_the_end_fails_the_test() -> None:
    with pytest.raises(RuntimeError):
        await Probe(answering(start(1), body(b"1"), body(b"2"))).get("/")


async def test_an_app_that_fails_before_its_answer_fails_the_test() -> None:
    async def broken(scope: Any, receive: Any, send: Send) -> None:
        raise LookupError("bug")

    with pytest.raises(LookupError):
        await Probe(broken).get("/")


async def test_head_has_no_body_and_needs_none() -> None:
    answer = await Probe(answering(start(5), body(b""))).head("/")
    assert (answer.headers["content-length"], answer.body, answer.whole) == ("5", b"", True)


async def test_a_piece_of_the_body_waits_until_it_is_asked_for() -> None:
    gate = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Send) -> None:
        await gate.wait()
        await receive()
        await send(start(0))
        await send(body(b""))

    async with Probe(slow).call("PUT", "/") as call:
        sending = asyncio.create_task(call.send(b"x", last=True))
        await asyncio.sleep(0)
        assert (sending.done(), call.asked) == (False, 0)
        gate.set()
        await sending
        assert (await call.answer()).whole


async def test_a_client_that_holds_takes_one_piece_at_a_time() -> None:
    produced: list[int] = []

    async def many(scope: Any, receive: Any, send: Send) -> None:
        await send(start(3))
        for number in range(3):
            produced.append(number)
            await send(body(b"x", more=number < 2))

    async with Probe(many).call("GET", "/", hold=True) as call:
        await call.started()
        assert (produced, call.pieces) == ([0], [])
        await call.take()
        assert await call.received(1) == b"x"
        assert produced == [0, 1]
        await call.take(2)
        assert (await call.answer()).body == b"xxx"


async def test_an_app_hears_that_its_client_has_left() -> None:
    heard = []

    async def listening(scope: Any, receive: Any, send: Send) -> None:
        heard.append((await receive())["type"])
        heard.append(scope["extensions"]["tierproxy.connection"].is_closing())

    async with Probe(listening).call("GET", "/") as call:
        call.leave()
        assert await call.ended() is Ending.SILENT
    assert heard == ["http.disconnect", True]
