"""Connections between clients, hit workers and the node: passed, answered, passed back, broken off."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import signal
import ssl
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.server.stub_worker import StubLane, body_of
from tests.server.worked import App, Worked, worked
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.config.values import Duration
from tierproxy.errors import ConfigError
from tierproxy.server import ObjectServer, workers
from tierproxy.server.listeners import bind_shared, bind_tcp
from tierproxy.testing.certificates import write_certificate
from tierproxy.testing.wire import Client, connected, on_both_loops, until

QUICK = Duration(0.2)
HOST = b"host: x\r\n\r\n"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + HOST


async def hit(client: Client, size: int) -> None:
    status, _, body = await client.request(f"GET /hit/{size} HTTP/1.1")
    assert (status, body) == (200, body_of(size))


async def asked(client: Client, line: str, body: bytes = b"") -> dict[str, object]:
    """What the app says of a request that the node answers."""
    status, _, told = await client.request(line, body)
    assert status == 200
    found: dict[str, object] = json.loads(told)
    return found


@on_both_loops
async def test_hits_are_answered_by_a_worker_and_everything_else_by_the_node_on_one_connection() -> None:
    async with worked() as port, port.connected() as client:
        own = client.writer.get_extra_info("sockname")
        for number in range(4):
            await hit(client, 1000 + number)
            told = await asked(client, f"GET /{number} HTTP/1.1")
            assert (told["peer"], told["port"], told["scheme"]) == (own[0], own[1], "http")
        assert [line for line in port.app.asked if "hit" in line] == []
        assert port.passed == 4
        assert port.server.connections <= 2


@on_both_loops
async def test_a_connection_of_uploads_stays_at_the_node_until_the_next_hit() -> None:
    async with worked() as port, port.connected() as client:
        for _ in range(5):
            await asked(client, "PUT /a HTTP/1.1\r\ncontent-length: 3", b"abc")
        assert port.passed == 1
        await hit(client, 5)
        await hit(client, 5)
        await asked(client, "PUT /a HTTP/1.1\r\ncontent-length: 3", b"abc")
        assert port.passed == 2


@on_both_loops
async def test_an_upload_with_and_without_expect_arrives_whole() -> None:
    body = os.urandom(10_000_000)
    async with worked() as port, port.connected() as client:
        told = await asked(client, f"PUT /a HTTP/1.1\r\ncontent-length: {len(body)}", body)
        assert told["md5"] == hashlib.md5(body).hexdigest()
        await hit(client, 10)
        await client.send(b"PUT /b HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %d\r\n" % len(body) + HOST)
        assert (await client.head())[0] == 100
        await client.send(body)
        assert json.loads((await client.response())[2])["md5"] == hashlib.md5(body).hexdigest()
        await hit(client, 10)
        assert port.app.stored == {"/a": body, "/b": body}


@on_both_loops
async def test_pipelined_requests_are_answered_in_their_order_whoever_answers() -> None:
    async with worked() as port, port.connected() as client:
        paths = ["/hit/1", "/one", "/hit/2", "/hit/3", "/two", "/three", "/hit/300000", "/hit/4", "/four", "/hit/5"]
        for _ in range(5):
            await client.send(b"".join(map(get, paths)))
            for path in paths:
                status, headers, body = await client.response()
                assert status == 200
                if "x-peer" in headers:
                    assert body == body_of(int(path[5:]))
                else:
                    assert json.loads(body)["asked"] == f"GET {path}"


async def test_requests_may_be_cut_into_any_pieces() -> None:
    dice = random.Random(7)
    async with worked() as port:
        for _ in range(40):
            async with port.connected() as client:
                lines = [dice.choice(["hit", "miss", "put"]) for _ in range(8)]
                stream = b""
                for number, line in enumerate(lines):
                    put = b"PUT /%d HTTP/1.1\r\ncontent-length: 7\r\n%bcontent" % (number, HOST)
                    stream += put if line == "put" else get(f"/hit/{number}" if line == "hit" else f"/{number}")
                while stream:
                    size = dice.choice([1, 2, 3, 20, 70, 200])
                    await client.send(stream[:size])
                    stream = stream[size:]
                    await asyncio.sleep(0)
                for number, line in enumerate(lines):
                    _, headers, body = await client.response()
                    if "x-peer" in headers:
                        assert (line, body) == ("hit", body_of(number))
                    else:
                        told = json.loads(body)
                        assert told["asked"].endswith(f"/{number}")
                        assert told["size"] == (7 if line == "put" else 0)


async def test_a_slow_reader_gets_every_byte_in_order_and_slows_its_connection_alone() -> None:
    async with worked() as port, port.connected(limit=4096) as slow, port.connected() as quick:
        size, times = 250_000, 80
        await slow.send(b"".join(get(f"/hit/{size}") for _ in range(times)) + get("/last") + get("/hit/7"))
        for _ in range(50):
            await hit(quick, 5)
        assert "GET /last" not in port.app.asked  # nobody goes on before the client has taken what was written
        for _ in range(times):
            assert (await slow.response())[2] == body_of(size)
        assert json.loads((await slow.response())[2])["asked"] == "GET /last"
        assert (await slow.response())[2]


async def test_a_slow_reader_of_the_nodes_answer_comes_back_to_its_worker() -> None:
    async with worked() as port, port.connected(limit=4096) as client:
        await client.send(get("/big/8000000"))
        assert len((await client.response())[2]) == 8_000_000
        await hit(client, 9)  # by the node's lane
        await hit(client, 9)
        await until(lambda: [state.answers for state in port.server.workers if state.passed] == [1])


ODD = [
    b"nonsense\r\n",
    b"GET /hit/5\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\n\nGET /hit/6 HTTP/1.1\n\n",
    b"GET /hit/5 HTTP/1.1\r\nhost: x\n\r\nGET /hit/6 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\nhost: x\n\r\nGET /a HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\nx : y\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\nx: " + b"y" * 70_000,
    b"GET /hit/5#x HTTP/1.1\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    b"GET /hit/5 HTTP/1.0\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"GET /close HTTP/1.1\r\nhost: x\r\n\r\nGET /hit/5 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
    b"GET /hit/5 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    b"GET /hit/5 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\na",
    b"\r\n\r\nGET /hit/5 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"POST /hit/5 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nabGET /a HTTP/1.1\r\nconnection: close\r\n\r\n",
]
"""What the lane must not answer."""


async def said(server: ObjectServer, text: bytes) -> bytes:
    """Everything a server says to ``text`` until it closes, without what differs from one connection to the next."""
    async with connected(server) as client:
        await client.send(text)
        return re.sub(rb"date: [^\r]*|\"port\": [0-9]+", b"", await client.closed())


async def test_what_the_lane_may_not_answer_is_answered_in_the_nodes_words() -> None:
    listen = ListenSection(address="127.0.0.1:0", auth="none", idle_timeout=QUICK)
    alone = ObjectServer(listen, App(), SystemClock(), lane=StubLane())
    await alone.start()
    try:
        async with worked(idle_timeout=QUICK) as port:
            for text in ODD:
                here, there = await asyncio.gather(said(port.server, text), said(alone, text))
                assert here == there, text
            assert port.passed == len(ODD)
    finally:
        await alone.stop(0)


# ---------------------------------------------------------------- clients that leave


async def test_a_client_that_leaves_while_it_is_passed_is_noticed_by_the_node() -> None:
    async with worked() as port:
        client = await port.client()
        await client.send(b"PUT /a HTTP/1.1\r\ncontent-length: 100\r\n" + HOST + b"half")
        await until(lambda: "PUT /a" in port.app.asked)
        await client.close()
        await until(lambda: port.app.left == 1)
        await until(lambda: port.server.connections == 0)


async def test_a_client_that_leaves_at_once_leaves_nothing_behind() -> None:
    async with worked() as port:
        for number in range(20):
            client = await port.client()
            await client.send(get("/hit/100000") + get(f"/{number}"))
            client.writer.transport.abort()
        await until(lambda: port.server.connections == 0)
        async with port.connected() as client:
            await hit(client, 5)


async def test_a_half_closed_connection_ends_as_it_does_at_the_node() -> None:
    async with worked() as port, port.connected() as client:
        await client.send(get("/hit/5"))
        client.writer.write_eof()
        assert (await client.closed()).endswith(body_of(5))


async def test_an_idle_connection_is_closed_by_its_worker() -> None:
    async with worked(idle_timeout=QUICK) as port:
        async with port.connected() as client:
            await hit(client, 5)
            await asked(client, "GET /a HTTP/1.1")
            assert await client.closed() == b""
        async with port.connected() as client:
            await client.send(b"GET /hit/5 HT")
            assert await client.closed() == b""


# ---------------------------------------------------------------- TLS


def trusting(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return context


@on_both_loops
async def test_with_tls_what_the_worker_does_not_answer_is_relayed(tmp_path: Path) -> None:
    certificate, key = map(str, write_certificate(tmp_path, "localhost"))
    body = os.urandom(3_000_000)
    async with worked(tls_certificate=certificate, tls_key=key) as port:
        assert (port.server.url or "").startswith("https://")
        async with port.connected(trusting(certificate)) as client:
            await hit(client, 200_000)
            told = await asked(client, f"PUT /a HTTP/1.1\r\ncontent-length: {len(body)}", body)
            own = client.writer.get_extra_info("sockname")
            assert (told["md5"], told["scheme"]) == (hashlib.md5(body).hexdigest(), "https")
            assert (told["peer"], told["port"]) == (own[0], own[1])
            await client.send(get("/big/5000000") + get("/x"))
            assert len((await client.response())[2]) == 5_000_000
            assert json.loads((await client.response())[2])["asked"] == "GET /x"
            await client.request("GET /close HTTP/1.1")
            assert await client.closed() == b""
        client = await port.client(trusting(certificate))
        await client.send(b"PUT /b HTTP/1.1\r\ncontent-length: 9\r\n" + HOST)
        await until(lambda: "PUT /b" in port.app.asked)
        await client.close()
        await until(lambda: port.app.left == 1)


async def test_another_certificate_is_taken_up_by_the_workers(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    pair, other = tuple(map(str, write_certificate(old, "old"))), tuple(map(str, write_certificate(new, "new")))
    async with worked(tls_certificate=pair[0], tls_key=pair[1]) as port:
        async with port.connected(trusting(pair[0])) as client:
            await hit(client, 5)
        port.server.reload(ListenSection(tls_certificate=other[0], tls_key=other[1]))
        for _ in range(200):  # both workers have to hear of it
            with suppress(ssl.SSLError):
                async with port.connected(trusting(other[0])) as client:
                    await hit(client, 5)
                break
            await asyncio.sleep(0.01)
        for _ in range(20):
            async with port.connected(trusting(other[0])) as client:
                await hit(client, 5)


# ---------------------------------------------------------------- ends


async def test_a_killed_worker_costs_its_own_connections_alone_and_another_takes_its_place() -> None:
    async with worked() as port:
        clients = [await port.client() for _ in range(16)]
        for client in clients:
            await hit(client, 5)
        before = port.pids
        assert [state.running for state in port.server.workers] == [True, True]
        port.kill(0)
        alive = 0
        for client in clients:
            try:
                await hit(client, 6)
                alive += 1
            except (OSError, asyncio.IncompleteReadError):
                pass
        assert 0 < alive < len(clients)
        for _ in range(16):  # nobody waits for the new one
            async with port.connected() as client:
                await client.request("GET /hit/7 HTTP/1.1")
                await asked(client, "GET /x HTTP/1.1")
        await until(lambda: port.server.workers[0].pid != before[0])
        assert port.pids[1] == before[1]
        assert [state.restarts for state in port.server.workers] == [1, 0]
        await until(lambda: port.server.workers[0].running)
        for client in clients:
            await client.close()


async def test_a_connection_whose_worker_was_killed_while_the_node_answers_it_is_answered() -> None:
    async with worked() as port:
        clients = [await port.client() for _ in range(8)]
        for client in clients:
            await client.send(get("/held"))
        await until(lambda: port.app.asked.count("GET /held") == 8)
        port.kill(0)
        port.kill(1)
        await until(lambda: [state.restarts for state in port.server.workers] == [1, 1])
        port.app.go.set()
        for client in clients:
            assert json.loads((await client.response())[2])["asked"] == "GET /held"
            await asked(client, "GET /again HTTP/1.1")
            await client.close()


@pytest.mark.parametrize("seed", range(3))
async def test_no_acknowledged_write_is_lost_when_workers_are_killed_at_any_time(seed: int) -> None:
    dice = random.Random(seed)
    acknowledged: dict[str, bytes] = {}
    served = [0]

    async def writing(port: Worked, name: str) -> None:
        for number in range(25):
            body = dice.randbytes(dice.choice([10, 5_000, 300_000]))
            with suppress(OSError, asyncio.IncompleteReadError):
                async with port.connected() as client:
                    await client.request("GET /hit/20000 HTTP/1.1")
                    told = await asked(client, f"PUT /{name}/{number} HTTP/1.1\r\ncontent-length: {len(body)}", body)
                    acknowledged[f"/{name}/{number}"] = body
                    assert told["size"] == len(body)
                    served[0] += 1

    async with worked() as port:
        writers = [asyncio.create_task(writing(port, f"w{number}")) for number in range(6)]
        for _ in range(4):
            reached = served[0] + dice.randrange(1, 15)
            while served[0] < reached and not all(writer.done() for writer in writers):
                await asyncio.sleep(0.005)
            with suppress(ProcessLookupError):
                port.kill(dice.randrange(2))
        await asyncio.gather(*writers)
        assert len(acknowledged) > 60
        for path, body in acknowledged.items():
            assert port.app.stored[path] == body


def ended(port: Worked, times: int) -> bool:
    return port.server.workers[0].restarts == times


def replaced(port: Worked, pid: int) -> bool:
    return port.server.workers[0].pid != pid


async def test_a_worker_that_keeps_ending_raises_an_alarm() -> None:
    async with worked() as port:
        for ends in range(1, 5):
            pid = port.server.workers[0].pid
            port.kill(0)
            await until(partial(ended, port, ends))
            if ends < 4:
                await until(partial(replaced, port, pid))
        assert port.alarms.active() == [("hit worker keeps ending", "0")]
        assert [state.running for state in port.server.workers] == [False, True]


async def test_a_worker_that_cannot_be_started_is_a_config_error_and_leaves_nothing() -> None:
    port = Worked()
    port.server._workers._command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(ConfigError, match="hit worker"):
        await port.server.start()


async def test_a_program_that_is_not_there_is_a_config_error_too() -> None:
    port = Worked()
    port.server._workers._command = ["/nowhere/python"]
    with pytest.raises(ConfigError, match="hit worker"):
        await port.server.start()


async def test_a_worker_that_hangs_is_killed_and_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SILENCE", 40)
    monkeypatch.setattr(workers, "STARTING", 1200)
    monkeypatch.setattr(workers, "TICK", 0.05)
    async with worked() as port:
        pid = port.server.workers[0].pid
        os.kill(pid, signal.SIGSTOP)
        await until(partial(replaced, port, pid))
        async with port.connected() as client:
            await hit(client, 5)


async def test_every_read_is_counted_once_after_a_stop() -> None:
    async with worked() as port:
        for _ in range(10):
            async with port.connected() as client:
                for _ in range(30):
                    await hit(client, 77)
                await client.request("HEAD /hit/77 HTTP/1.1")
    assert port.reads == {"77": 300}
    assert port.answers == {200: 310}
    assert port.clients == {"127.0.0.1"}


async def test_a_kill_costs_the_counts_of_one_report_at_most() -> None:
    async with worked() as port:
        for _ in range(16):
            async with port.connected() as client:
                await hit(client, 5)
        await until(lambda: port.reads["5"] == 16)
        port.kill(0)
        port.kill(1)
        await until(lambda: [state.restarts for state in port.server.workers] == [1, 1])
        assert port.reads["5"] == 16


async def test_a_stop_lets_the_requests_under_way_finish() -> None:
    async with worked() as port:
        held, idle = await port.client(), await port.client()
        await hit(idle, 5)
        await held.send(get("/held"))
        await until(lambda: "GET /held" in port.app.asked)
        stopping = asyncio.create_task(port.server.stop(5))
        assert await idle.closed() == b""
        port.app.go.set()
        status, headers, body = await held.response()
        assert (status, headers["connection"]) == (200, "close")
        assert json.loads(body)["asked"] == "GET /held"
        assert await held.closed() == b""
        await stopping
        with pytest.raises(OSError):
            await port.client()
        for client in (held, idle):
            await client.close()


async def test_workers_end_with_a_node_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio\nfrom tests.server.worked import worked\n"
        "async def main():\n"
        "    async with worked() as port:\n"
        "        print(*port.pids, flush=True)\n        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    node = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert node.stdout is not None
    pids = [int(text) for text in (await node.stdout.readline()).split()]
    assert len(pids) == 2
    os.kill(pids[0], signal.SIGSTOP)  # one that could not see it by itself
    node.kill()
    await node.wait()
    await until(lambda: not any(running(pid) for pid in pids))


STARTING = """
import asyncio
import sys
from tierproxy.clock import SystemClock
from tierproxy.server.listeners import bind_shared
from tierproxy.server.workers import Workers
from tierproxy.store.alarms import AlarmBoard


async def main():
    workers = Workers(
        command=[sys.executable, "-c", "import signal; signal.pause()"], setup=bytes, adopt=None, served=None,
        stand_in=None, clock=SystemClock(), alarms=AlarmBoard(),
    )
    (bound,) = bind_shared("127.0.0.1:0", 1)
    bound.listen()
    starting = asyncio.ensure_future(workers.start([bound]))
    while not workers.states:
        await asyncio.sleep(0)
    print(workers.states[0].pid, *bound.getsockname(), flush=True)
    await starting


asyncio.run(main())
"""


async def test_a_worker_that_is_still_starting_does_not_keep_the_address_of_a_killed_node() -> None:
    """The next node was refused by "Address already in use"."""
    node = await asyncio.create_subprocess_exec(sys.executable, "-c", STARTING, stdout=asyncio.subprocess.PIPE)
    assert node.stdout is not None
    pid, host, port = (await node.stdout.readline()).decode().split()
    try:
        await until(lambda: b"pause" in Path(f"/proc/{pid}/cmdline").read_bytes().rpartition(b"\0-c")[2])
        node.kill()
        await node.wait()
        await until(lambda: not running(int(pid)))
        bind_tcp(f"{host}:{port}").close()
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def running(pid: int) -> bool:
    """Not a zombie either: whoever inherits it may take its time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---------------------------------------------------------------- addresses


def test_an_address_somebody_shares_already_is_refused() -> None:
    first = bind_shared("127.0.0.1:0", 3)
    try:
        host, port = first[0].getsockname()
        assert {bound.getsockname() for bound in first} == {(host, port)}
        first[0].listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            bind_shared(f"{host}:{port}", 2)
    finally:
        for bound in first:
            bound.close()
