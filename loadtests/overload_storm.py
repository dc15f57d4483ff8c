"""A process that asks as fast as it can: ``overload_storm.py HOST PORT SOURCE CONNECTIONS SECONDS FIRST LAST PATTERN``.

Asks for PATTERN with the numbers FIRST to LAST in it, again and again where there is one only, and prints answers a
second and what they were, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

import uvloop
from overload_clients import Address, Client, Tally, get


@dataclass(frozen=True, slots=True)
class Storm:
    """``pattern``: of paths. ``last`` is not asked for."""

    host: str
    port: int
    source: str
    connections: int
    seconds: float
    first: int
    last: int
    pattern: str

    def arguments(self) -> list[str]:
        return [str(value) for value in asdict(self).values()]


async def run(storm: Storm) -> dict[str, object]:
    tally = Tally()
    requests = [get(storm.pattern.format(number)) for number in range(storm.first, storm.last)]
    following = iter(requests)
    begin = time.perf_counter()
    end = begin + storm.seconds

    async def loop() -> None:
        client = Client(Address(storm.host, storm.port), storm.source, tally)
        if not await client.connect():
            return
        while time.perf_counter() < end:
            request = requests[0] if len(requests) == 1 else next(following, b"")
            if not request or not await client.send(request) or not await client.answer():
                break
        client.close()

    await asyncio.gather(*(loop() for _ in range(storm.connections)))
    seconds = time.perf_counter() - begin
    return {"rate": tally.served / seconds, **asdict(tally)}


async def blow(storm: Storm) -> tuple[float, Tally]:
    """In a process of its own: answers a second, and what they were."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *storm.arguments(), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    found = json.loads(output)
    rate = float(found.pop("rate"))
    tally = Tally(**found)
    tally.errors = type(Tally().errors)(tally.errors)
    return rate, tally


def main(arguments: list[str]) -> int:
    host, port, source, connections, seconds, first, last, pattern = arguments
    storm = Storm(host, int(port), source, int(connections), float(seconds), int(first), int(last), pattern)
    print(json.dumps(uvloop.run(run(storm))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
