"""Changes whose answer is lost: what is asked before there is doubt."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.mount.client_actions import CHANGES, DONE, ETAG, LOST, MAIL, MIB, NOT_DONE, OURS, TAKEN, THEIRS, Action
from tests.mount.client_world import client_of, send
from tests.mount.fake_node import answer, closes, error, fake_node, missing
from tierproxy.mount.ports import Doubt, InTheWay


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["cut", "503"])
async def test_a_change_whose_answer_is_lost_and_that_happened_is_reported_as_done(
    tmp_path: Path, change: str, how: str
) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(LOST[how], DONE[change])
        await CHANGES[change](client)
        assert [heard.method for heard in node.heard][1:] == ["HEAD"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["cut", "503"])
async def test_a_change_whose_answer_is_lost_and_that_did_not_happen_is_doubt(
    tmp_path: Path, change: str, how: str
) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        for asked in (NOT_DONE[change], error(503, "SlowDown")):
            node.will(LOST[how], asked)
            with pytest.raises(Doubt):
                await CHANGES[change](client)


@pytest.mark.parametrize("change", ["put", "copy", "delete"])
async def test_a_change_that_is_sent_again_and_refused_had_happened(tmp_path: Path, change: str) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(closes(), TAKEN, DONE[change])
        await CHANGES[change](client)
        assert len({heard.method for heard in node.heard[:2]}) == 1


@pytest.mark.parametrize("there", [THEIRS, answer(200, etag='"another"', x_amz_meta_mtime="1500000000.0")])
async def test_a_change_that_is_sent_again_and_meets_another_content_is_in_the_way(
    tmp_path: Path, there: bytes
) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(closes(), TAKEN, there)
        with pytest.raises(InTheWay):
            await send(client, "a/u.1", MAIL, create=True)


async def test_a_name_that_is_taken_at_once_is_in_the_way_without_a_question(tmp_path: Path) -> None:
    """Even by the same content: it may be another mail's, delivered twice."""
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(TAKEN)
        with pytest.raises(InTheWay):
            await send(client, "a/u.1", MAIL, create=True)
        assert len(node.heard) == 1


@pytest.mark.parametrize(
    ("change", "asked"),
    [(lambda client: client.delete("a/u.1"), missing()), (lambda client: send(client, "a/u.1", MAIL), OURS)],
)
async def test_a_change_without_a_condition_that_may_have_been_heard_is_not_sent_again(
    tmp_path: Path, change: Action, asked: bytes
) -> None:
    """Somebody else may have changed the object in between, and would lose that."""
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(closes(), asked)
        await change(client)
        assert [heard.method for heard in node.heard[1:]] == ["HEAD"]


async def test_a_change_that_is_lost_twice_is_asked_after_and_then_in_doubt(tmp_path: Path) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(closes(), closes(), missing())
        with pytest.raises(Doubt):
            await send(client, "a/u.1", MAIL, create=True)
        node.will(closes(), closes(), OURS)
        assert (await send(client, "a/u.1", MAIL, create=True)).etag == ETAG


async def test_the_second_sending_has_the_whole_body_again(tmp_path: Path) -> None:
    body = os.urandom(3 * MIB + 5)
    etag = hashlib.md5(body).hexdigest()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(closes(), answer(200, etag=f'"{etag}"'))
        await send(client, "a/u.1", body, create=True)
        assert [heard.body == body for heard in node.heard] == [True, True]
