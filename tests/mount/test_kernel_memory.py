"""Random changes by programs here and by others: what the kernel remembers is never older than what was told."""

from __future__ import annotations

import ast
import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuse.world import needs_fuse
from tests.mount.test_kernel_requests import Mounted, mounted
from tierproxy.fuse.negotiation import Agreement
from tierproxy.testing.memory_node import MemoryBucket

NAMES = ("a", "b", "c")
DIRECTORIES = ("u1", "u1/mailboxes")
paths = st.builds("{}/{}".format, st.sampled_from(DIRECTORIES), st.sampled_from(NAMES))
OTHERS = ("mark", "keep", "keep_below", "remove", "feed")
OWN = {
    "mkdir": "os.mkdir({0!r})",
    "rmdir": "os.rmdir({0!r})",
    "write": "open({0!r}, 'wb').write(b'z')",
    "unlink": "os.unlink({0!r})",
    "rename": "os.rename({0!r}, {0!r}[:-1] + 'c')",
    "half": "halves.append(os.scandir(os.path.dirname({0!r})))",
    "rest": "[len(list(one)) for one in halves] and halves.clear()",
}
OPERATIONS = st.tuples(st.sampled_from((*OTHERS, *OWN)), paths)

pytestmark = needs_fuse


def change(bucket: MemoryBucket, kind: str, path: str) -> None:
    """By another server, which makes no file of what is a directory, nor the other way."""
    directory = any(key.startswith(f"{path}/") for key in (*bucket.objects, *bucket.markers))
    if kind == "remove":
        for key in (path, f"{path}/", f"{path}/deep/u.1"):
            bucket.remove(key)
    elif kind == "keep" and not directory:
        bucket.keep(path, b"x")
    elif kind == "mark" and path not in bucket.objects:
        bucket.mark(f"{path}/")
    elif kind == "keep_below" and path not in bucket.objects:
        bucket.keep(f"{path}/deep/u.1", b"x")


async def compare(m: Mounted) -> None:
    for directory in DIRECTORIES:
        children = m.node.bucket.children(f"{directory}/")
        true = sorted({file.key.rpartition("/")[2] for file in children.files} | set(children.directories))
        for name in NAMES:
            assert await m.does(f"there('{directory}/{name}')") == str(name in true)
        assert ast.literal_eval(await m.does(f"listed({directory!r})")) == true


async def play(root: Path, program: list[tuple[str, str]]) -> None:
    async with mounted(root) as m:
        await m.does("globals().update(halves=[])")
        for kind, path in program:
            if kind in OWN:
                await m.does(OWN[kind].format(path))
            elif kind == "feed":
                m.node.lose_feed()
                m.node.find_feed()
            else:
                change(m.node.bucket, kind, path)
            await m.told()
            await compare(m)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OPERATIONS, min_size=30, max_size=60), st.booleans())
def test_what_is_seen_is_what_is_there(program: list[tuple[str, str]], epochs: bool) -> None:
    """``epochs``: the kernel can forget all names at once; older ones are told each."""
    known = Agreement.epochs
    with tempfile.TemporaryDirectory() as root:
        try:
            Agreement.epochs = property(lambda _: epochs)  # type: ignore[assignment,method-assign]
            asyncio.run(play(Path(root), program))
        finally:
            Agreement.epochs = known  # type: ignore[method-assign]
