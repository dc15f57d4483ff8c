"""Random programs on the mount and on a dictionary: they see the same, and so does the bucket in the end.

Others write and delete in the bucket too, the feed breaks, and the mount starts anew.
"""

from __future__ import annotations

import asyncio
import errno
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mount.stage import Stage, stage
from tierproxy.testing.memory_node import MemoryNode

DIRECTORIES = ("a", "b", "a/c")
NAMES = ("u.1", "u.2", "f", ".temp.1", ".temp.2")
paths = st.builds("{}/{}".format, st.sampled_from(DIRECTORIES), st.sampled_from(NAMES))
bodies = st.sampled_from([b"", b"one", b"two", b"x" * 9300])
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), paths, bodies),
    st.tuples(st.just("unlink"), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("mkdir"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("rmdir"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("truncate"), paths, st.integers(0, 5)),
    st.tuples(st.just("read"), paths),
    st.tuples(st.just("list"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("other_writes"), paths, bodies),
    st.tuples(st.just("other_deletes"), paths),
    st.tuples(st.just("feed_breaks")),
    st.tuples(st.just("to_stub"), paths),
)


class Model:
    """A file system of two sets of names: what is durable, and what is scratch."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.directories = {"a", "b", "a/c"}
        self.linked: set[str] = set()  #: what ever had an alias: others leave it alone, as then its alias is lost too

    def check_parent(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent and parent not in self.directories:
            raise OSError(errno.ENOENT, "")

    def find(self, path: str) -> bytes:
        self.check_parent(path)
        if path not in self.files:
            raise OSError(errno.ENOENT, "")
        return self.files[path]

    def write(self, path: str, body: bytes) -> None:
        self.check_parent(path)
        self.files[path] = body

    def unlink(self, path: str) -> None:
        self.find(path)
        del self.files[path]

    def truncate(self, path: str, size: int) -> None:
        self.files[path] = self.find(path)[:size].ljust(size, b"\0")

    def read(self, path: str) -> bytes:
        return self.find(path)

    def listing(self, directory: str) -> list[str]:
        if directory not in self.directories:
            raise OSError(errno.ENOENT, "")
        return sorted(path.rpartition("/")[2] for path in [*self.files, *self.directories]
                      if path.rpartition("/")[0] == directory)  # fmt: skip

    def mkdir(self, directory: str) -> None:
        self.check_parent(directory)
        if directory in self.directories:
            raise OSError(errno.EEXIST, "")
        self.directories.add(directory)

    def rmdir(self, directory: str) -> None:
        if self.listing(directory):
            raise OSError(errno.ENOTEMPTY, "")
        self.directories.discard(directory)

    def link(self, source: str, target: str) -> None:
        self.find(source)
        self.check_parent(target)
        if scratch(source) or not scratch(target):
            raise OSError(errno.EPERM, "")
        if target in self.files:
            raise OSError(errno.EEXIST, "")
        self.files[target] = self.files[source]
        self.linked |= {source, target}

    def rename(self, source: str, target: str) -> None:
        if source in DIRECTORIES:
            self.rename_directory(source, target)
            return
        body = self.find(source)
        self.check_parent(target)
        if source == target:
            return
        if scratch(target) and not scratch(source):
            raise OSError(errno.EXDEV, "")
        if mail(target) and self.files.get(target, body) != body:
            raise OSError(errno.EEXIST, "")
        self.files[target] = self.files.pop(source)

    def rename_directory(self, source: str, target: str) -> None:
        self.listing(source)
        self.check_parent(target)
        if source == target:
            return
        if target.startswith(source + "/"):
            raise OSError(errno.EINVAL, "")
        if source.startswith(target + "/") or (target in self.directories and self.listing(target)):
            raise OSError(errno.ENOTEMPTY, "")
        self.directories.discard(target)
        self.files = {moved(path, source, target): body for path, body in self.files.items()}
        self.directories = {moved(path, source, target) for path in self.directories}


def moved(path: str, source: str, target: str) -> str:
    return target + path.removeprefix(source) if path == source or path.startswith(source + "/") else path


def scratch(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".")


def mail(path: str) -> bool:
    return path.rpartition("/")[2].startswith("u.")


async def answer(call: Callable[[], Awaitable[object]]) -> object:
    try:
        return await call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def expected(call: Callable[[], object]) -> object:
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


async def other(s: Stage, model: Model, name: str, arguments: tuple[str, ...]) -> None:
    """What happens beside the mount: to real names in directories that are there."""
    bucket = s.node.bucket
    if name == "feed_breaks":
        s.node.lose_feed()
        s.node.find_feed()
    elif name == "to_stub":
        bucket.stubbed.add(arguments[0])
    elif model.linked:
        return
    elif arguments[0].rpartition("/")[0] in model.directories and not scratch(arguments[0]):
        if name == "other_writes":
            bucket.keep(arguments[0], arguments[1])  # type: ignore[arg-type]
            model.files[arguments[0]] = arguments[1]  # type: ignore[assignment]
        elif arguments[0] in bucket.objects:
            bucket.remove(arguments[0])
            del model.files[arguments[0]]
    await s.settled()


async def program(root: Path, operations: list[tuple[str, ...]]) -> None:
    model, node = Model(), MemoryNode()
    for directory in DIRECTORIES:
        node.bucket.mark(f"{directory}/")
    for path in ("a/u.1", "a/f", "b/u.2", "a/c/u.1"):
        model.files[path] = path.encode() * 3000
        node.bucket.keep(path, model.files[path])
    async with stage(root, node) as s:
        verbs: dict[str, Callable[..., Awaitable[object]]] = {
            "write": s.write, "unlink": s.unlink, "rename": s.rename, "link": s.link, "mkdir": s.mkdir,
            "rmdir": s.rmdir, "truncate": s.truncate, "read": s.read, "list": s.listdir,
        }  # fmt: skip
        for name, *arguments in operations:
            if name not in verbs:
                await other(s, model, name, tuple(arguments))
            elif name == "rename" and arguments[0] in DIRECTORIES and arguments[1].startswith(arguments[0]):
                continue  # the kernel's own answer
            else:
                wanted = expected(lambda: getattr(model, "listing" if name == "list" else name)(*arguments))  # noqa: B023
                assert await answer(lambda: verbs[name](*arguments)) == wanted, (name, arguments)  # noqa: B023
        await s.settled()
        real = {path: body for path, body in model.files.items() if not scratch(path)}
        assert node.bucket.bodies() == real
    async with stage(root, MemoryNode(node.bucket)) as s:
        for directory in model.directories:
            assert await s.listdir(directory) == [name for name in model.listing(directory) if not scratch(name)]
        for path, body in real.items():
            assert await s.read(path) == body


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(st.lists(OPERATIONS, max_size=25))
def test_the_mount_does_what_a_dictionary_would(operations: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        asyncio.run(program(Path(root), operations))
