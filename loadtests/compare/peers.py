"""The peers, each configured as its own documentation recommends for speed; the configuration says where from.

All reach the same SeaweedFS (nginx static excepted, which has files), keep what they keep below a directory of their
own, and listen on loopback ports that the system gives out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from served import BUCKET

from compare.programs import Missing, found, free_port, juicefs, run_once, running, version_of
from tierproxy.embedded import EmbeddedS3

GATEWAY_KEY = ("compare", "compare-secret")
ROOM = "4g"  #: for what Varnish keeps


def _always(headers: Mapping[str, str]) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Server:
    """Who is asked, and how. ``path``: of the bucket; ``key``: for SigV4, None for requests without signature; ``pid``:
    whose processor time counts; ``hit``: whether an answer with these headers came from its cache."""

    name: str
    address: tuple[str, int]
    path: str = f"/{BUCKET}"
    key: tuple[str, str] | None = None
    pid: int = 0
    hit: Callable[[Mapping[str, str]], bool] = field(default=_always, compare=False)

    @property
    def host(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"


def seaweed_servers(alt: EmbeddedS3) -> dict[str, Server]:
    """S3 and the filer's HTTP port of the same process. SeaweedFS' wiki ("Optimization") has advice for disks and many
    volumes, none for one machine; `weed mini` keeps an index of its volumes in memory, which is the fastest it has."""
    return {
        "seaweed-s3": Server(
            "SeaweedFS S3", ("127.0.0.1", alt.ports["s3"]), key=(alt.access_key, alt.secret_key), pid=alt.pid or 0
        ),
        "seaweed-filer": Server(
            "SeaweedFS filer", ("127.0.0.1", alt.ports["filer"]), path=f"/buckets/{BUCKET}", pid=alt.pid or 0
        ),
    }  # fmt: skip


# ---------------------------------------------------------------- nginx

NGINX = """
# nginx.org/en/docs/ngx_core_module.html#worker_processes: auto is one a core.
{user}worker_processes auto;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  # docs.nginx.com/nginx/admin-guide/web-server/serving-static-content ("Optimizing Performance"): sendfile with
  # tcp_nopush and tcp_nodelay. ngx_http_core_module.html#open_file_cache: descriptors stay open.
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  open_file_cache max=20000 inactive=1h;
  open_file_cache_valid 1h;
  # ngx_http_core_module.html#keepalive_requests: the default of 1000 would close connections in the middle of a round.
  keepalive_requests 1000000000;
  client_max_body_size 0;
  default_type application/octet-stream;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
{http}
}}
"""

STATIC = """
  server {{
    listen 127.0.0.1:{port};
    root {directory}/files;
    # ngx_http_dav_module.html: a PUT becomes a temporary file and a rename. Nothing is made durable.
    location / {{ dav_methods PUT; create_full_put_path on; }}
  }}
"""

CACHE = """
  # blog.nginx.org/blog/nginx-caching-guide: use_temp_path=off writes to where it will be read; a key zone for all keys
  # (1 MB holds about 8,000); proxy_cache_lock lets one request fill.
  proxy_cache_path {directory}/cache levels=1:2 keys_zone=objects:32m max_size=8g inactive=24h use_temp_path=off;
  # ngx_http_upstream_module.html#keepalive: with HTTP/1.1 and an empty Connection header.
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://origin/buckets/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache objects;
      proxy_cache_key $uri;
      proxy_cache_valid 200 24h;
      proxy_cache_lock on;
      add_header X-Cache-Status $upstream_cache_status;
    }}
  }}
"""


@contextmanager
def nginx_static(directory: Path, files: Path) -> Iterator[Server]:
    """``files``: the directory of all buckets."""
    (directory / "files").symlink_to(files)
    with _nginx(directory, STATIC) as (port, pid):
        yield Server("nginx static", ("127.0.0.1", port), pid=pid)


@contextmanager
def nginx_cache(directory: Path, alt: EmbeddedS3) -> Iterator[Server]:
    with _nginx(directory, CACHE, origin=alt.ports["filer"]) as (port, pid):
        yield Server("nginx proxy_cache", ("127.0.0.1", port), pid=pid, hit=lambda of: of["x-cache-status"] == "HIT")


@contextmanager
def _nginx(directory: Path, http: str, **facts: object) -> Iterator[tuple[int, int]]:
    program, port = found("nginx"), free_port()
    places = {"directory": directory, "port": port, **facts}
    user = "user root;\n" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(NGINX.format(user=user, http=http.format(**places), **places))
    command = [program, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", str(directory / "error.log")]
    with running(command, directory, port) as pid:
        yield port, pid


# ---------------------------------------------------------------- Varnish

VCL = """
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{origin}"; }}
sub vcl_recv {{ set req.url = "/buckets" + req.url; }}
sub vcl_backend_response {{ if (beresp.status == 200) {{ set beresp.ttl = 24h; }} }}
"""


@contextmanager
def varnish(directory: Path, alt: EmbeddedS3, kind: str) -> Iterator[Server]:
    """``kind``: malloc or file. docs.varnish-software.com/book/operations/tuning-varnish: out of the box it performs
    well; two pools of a hundred threads are more than 32 connections need. varnish-cache.org/docs/7.1/users-guide/
    storage-backends.html: malloc, or a file that is mapped."""
    program, port = found("varnishd"), free_port()
    (directory / "default.vcl").write_text(VCL.format(origin=alt.ports["filer"]))
    storage = f"file,{directory / 'store'},{ROOM}" if kind == "file" else f"malloc,{ROOM}"
    command = [
        program, "-F", "-j", "none", "-n", str(directory / "work"), "-a", f"127.0.0.1:{port}",
        "-f", str(directory / "default.vcl"), "-s", storage,
    ]  # fmt: skip
    with running(command, directory, port) as pid:
        yield Server(
            f"Varnish {kind}", ("127.0.0.1", port), pid=pid, hit=lambda of: len(of["x-varnish"].split()) == 2
        )  # fmt: skip


# ---------------------------------------------------------------- rclone

RCLONE = """[s3]
type = s3
provider = Other
endpoint = {endpoint}
force_path_style = true
access_key_id = {key}
secret_access_key = {secret}
"""


@contextmanager
def rclone(directory: Path, alt: EmbeddedS3) -> Iterator[Server]:
    """rclone.org/commands/rclone_serve_http: --vfs-cache-mode full keeps what is read; with S3, --vfs-fast-fingerprint
    and --no-modtime spare a request for each file; --read-only; long --dir-cache-time where nobody else writes."""
    program, port = found("rclone"), free_port()
    config = RCLONE.format(endpoint=alt.endpoint, key=alt.access_key, secret=alt.secret_key)
    (directory / "rclone.conf").write_text(config)
    command = [
        program, "--config", str(directory / "rclone.conf"), "--cache-dir", str(directory / "cache"), "serve", "http",
        "s3:", "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "full", "--vfs-cache-max-age", "24h", "--read-only",
        "--vfs-fast-fingerprint", "--no-modtime", "--dir-cache-time", "24h", "--poll-interval", "0",
    ]  # fmt: skip
    with running(command, directory, port) as pid:
        yield Server("rclone serve http", ("127.0.0.1", port), pid=pid)


# ---------------------------------------------------------------- JuiceFS


class JuiceFS:
    """A volume whose metadata is in Redis and whose blocks are in SeaweedFS, and gateways to it.

    juicefs.com/docs/community/redis_best_practices: Redis is the fastest metadata engine; nothing is saved here.
    juicefs.com/docs/community/guide/cache: longer metadata caches and --open-cache where files do not change; a block
    cache on the local disk. --writeback is left off: it would acknowledge what is neither in S3 nor synced."""

    def __init__(self, directory: Path, alt: EmbeddedS3) -> None:
        self._directory = directory
        self._alt = alt
        self._program = juicefs()
        self.redis = found("redis-server")
        self._port = free_port()

    @property
    def _meta(self) -> str:
        return f"redis://127.0.0.1:{self._port}/1"

    @contextmanager
    def volume(self) -> Iterator[None]:
        """Redis runs and the volume is there."""
        redis = [
            self.redis, "--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._directory),
            "--save", "", "--appendonly", "no",
        ]  # fmt: skip
        with running(redis, self._directory / "redis", self._port):
            self._alt.make_bucket("juicefs")
            format_ = [
                self._program, "format", "--storage", "s3", "--bucket", f"{self._alt.endpoint}/juicefs",
                "--access-key", self._alt.access_key, "--secret-key", self._alt.secret_key, "--trash-days", "0",
                self._meta, BUCKET,
            ]  # fmt: skip
            run_once(format_, self._directory)
            yield

    @contextmanager
    def gateway(self, name: str) -> Iterator[Server]:
        """With an empty cache of its own."""
        home, port = self._directory / name, free_port()
        home.mkdir()
        command = [
            self._program, "gateway", "--no-banner", "--no-usage-report", "--cache-dir", str(home / "cache"),
            "--cache-size", "8G", "--attr-cache", "3600", "--entry-cache", "3600", "--dir-entry-cache", "3600",
            "--open-cache", "3600", "--log", str(home / "gateway.log"), "--metrics", f"127.0.0.1:{free_port()}",
            "--backup-meta", "0", self._meta, f"127.0.0.1:{port}",
        ]  # fmt: skip
        environment = {"MINIO_ROOT_USER": GATEWAY_KEY[0], "MINIO_ROOT_PASSWORD": GATEWAY_KEY[1]}
        with running(command, home, port, environment) as pid:
            yield Server("JuiceFS gateway", ("127.0.0.1", port), key=GATEWAY_KEY, pid=pid)


def versions() -> list[tuple[str, str]]:
    """Of the peers that are here."""
    commands = {
        "nginx": ("nginx", "-v"), "varnish": ("varnishd", "-V"), "rclone": ("rclone", "version"), "wrk": ("wrk", "-v"),
        "redis": ("redis-server", "--version"),
    }  # fmt: skip
    told = []
    for name, (program, *arguments) in commands.items():
        try:
            told.append((name, version_of([found(program), *arguments])))
        except Missing:
            told.append((name, "not here"))
    try:
        told.append(("juicefs", version_of([juicefs(), "--version"])))
    except Missing:
        told.append(("juicefs", "not here"))
    return told
