"""Sockets to listen on, and the TLS context that follows its files."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import stat
from pathlib import Path

from tierproxy.config.checks import host_and_port, is_loopback
from tierproxy.config.sections import ListenSection
from tierproxy.errors import ConfigError
from tierproxy.logs import event

logger = logging.getLogger("tierproxy.server")


def check_listen(listen: ListenSection) -> None:
    """Refuse what must not be opened: no listener at all, an open port without authentication, half of a TLS pair.

    Raises ConfigError.
    """
    if not listen.address and not listen.unix_socket:
        raise ConfigError("[listen] has neither address nor unix_socket")
    if listen.auth not in {"sigv4", "none"}:
        raise ConfigError(f"[listen] auth is {listen.auth!r}: write sigv4 or none")
    if listen.address and listen.auth == "none" and not is_loopback(host_and_port(listen.address)[0]):
        raise ConfigError(
            f"[listen] auth = none on {listen.address} would let everybody read and change every object",
            hint="set auth = sigv4, listen on 127.0.0.1, or use unix_socket alone",
        )
    if bool(listen.tls_certificate) != bool(listen.tls_key):
        raise ConfigError("[listen] tls_certificate and tls_key belong together; one is missing")
    _mode(listen)


def _mode(listen: ListenSection) -> int:
    try:
        return int(listen.unix_socket_mode, 8) & 0o777
    except ValueError as error:
        raise ConfigError(f"[listen] unix_socket_mode {listen.unix_socket_mode!r} is not octal, as in 0660") from error


def bind_tcp(address: str) -> socket.socket:
    """A bound TCP socket. Raises ConfigError."""
    host, port = host_and_port(address)
    try:
        family, _, protocol, _, target = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol: asyncio sets TCP_NODELAY only where it is named, and answers would wait for the client's
        # delayed acknowledgements.
        bound = socket.socket(family, socket.SOCK_STREAM, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {address}: {error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(target)
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"cannot listen on {address}: {error.strerror}",
            hint="another program has the port, or the address is not of this machine: see [listen] address",
        ) from error
    bound.setblocking(False)
    return bound


def bind_shared(address: str, number: int) -> list[socket.socket]:
    """``number`` bound TCP sockets for one address (port 0: the same free port), among which the kernel distributes
    connections (SO_REUSEPORT, socket(7)). Raises ConfigError.

    The first is bound without it: an address that somebody else shares in the same way must be refused, as every other
    one that is taken.
    """
    found = [bind_tcp(address)]
    first = found[0]
    try:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(number - 1):
            found.append(socket.socket(first.family, first.type, first.proto))
            found[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            found[-1].bind(first.getsockname())
            found[-1].setblocking(False)
    except OSError as error:
        for bound in found:
            bound.close()
        raise ConfigError(f"cannot listen on {address} with workers: {error.strerror}") from error
    return found


class UnixSocket:
    """A unix socket file with permissions.

    It is bound under another name, given its mode and then renamed to its own: at no moment can it be opened with other
    permissions, and a stale file is replaced without a gap. A file somebody listens on is left alone.
    """

    def __init__(self, listen: ListenSection) -> None:
        self.path = Path(listen.unix_socket)
        self._mode = _mode(listen)
        self._inode = 0

    def bind(self) -> socket.socket:
        """Raises ConfigError when another process listens there or the file is not a socket."""
        self._refuse_taken()
        self._tell_of_open_directory()
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            draft.unlink(missing_ok=True)
            bound.bind(str(draft))
            _give_mode(draft, self._mode)
            bound.listen(1)  # before the rename: a client that finds the name must not be refused
            draft.rename(self.path)
            self._inode = self.path.stat().st_ino
        except OSError as error:
            bound.close()
            draft.unlink(missing_ok=True)
            raise ConfigError(f"cannot listen on {self.path}: {error}") from error
        bound.setblocking(False)
        return bound

    def _tell_of_open_directory(self) -> None:
        try:
            mode = self.path.parent.stat().st_mode
        except OSError:  # bind says what is wrong
            return
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            event(logger, logging.WARNING, "anybody may put another socket there", unix_socket=self.path)

    def remove(self) -> None:
        """Remove the file, unless another process has put its own there meanwhile."""
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass

    def _refuse_taken(self) -> None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise ConfigError(f"{self.path} exists and is not a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
            visitor.settimeout(1)
            try:
                visitor.connect(str(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                return
            except OSError as error:
                raise ConfigError(f"cannot tell whether somebody listens on {self.path}: {error}") from error
        raise ConfigError(f"another process listens on {self.path}")


def _give_mode(socket_file: Path, mode: int) -> None:
    """To the socket itself: chmod(2) would follow a link that somebody has put in its place meanwhile. Raises
    OSError."""
    fd = os.open(socket_file, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise FileExistsError(errno.EEXIST, "somebody has put another file in its place", str(socket_file))
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


class Certificate:
    """The server's certificate and key: one TLS context whose content follows the files.

    A changed pair is loaded into a context of its own first. Loading a certificate that does not fit its key straight
    into the live one would leave it with neither.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._files = (Path(certificate), Path(key))
        self._seen = self._stamp()
        self.context = _fresh_context()
        try:
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot use the certificate {certificate} with the key {key}: {error}") from error

    def _stamp(self) -> tuple[object, ...]:
        stamps: list[object] = []
        for file in self._files:
            try:
                found = file.stat()
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                stamps.append(None)
        return tuple(stamps)

    def move(self, certificate: str, key: str) -> bool:
        """Follow these files from now on. Returns whether they are in use; if not, the old pair stays."""
        self._files = (Path(certificate), Path(key))
        self._seen = ()
        return self.follow()

    def follow(self) -> bool:
        """Load the files again if they have changed; new connections use them. A bad pair is logged and the old one
        kept. Returns whether a new one is in use."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            _fresh_context().load_cert_chain(*self._files)
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            event(logger, logging.ERROR, "new certificate refused", file=self._files[0], error=error)
            return False
        event(logger, logging.INFO, "certificate loaded", file=self._files[0])
        return True


def _fresh_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
