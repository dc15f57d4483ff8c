"""What the demo says: the table of phases, and the lines to try."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from rich.table import Table

from tierproxy.cli.demo.home import BUCKET, Home
from tierproxy.cli.demo.play import Phase
from tierproxy.cli.words import bytes_text

TIERS = ("memory", "disk", "alt")


def phases_table(phases: Sequence[Phase]) -> Table:
    """Where each read came from, what alt was asked, how long it took, and whether the bytes were the right ones."""
    table = Table(title="What happened", title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("phase", no_wrap=True)
    for column in ("mails", "bytes", *TIERS, "alt saw", "mean ms", "wrong"):
        table.add_column(column, justify="right")
    for phase in phases:
        reads = [str(phase.tiers[tier] or "") for tier in TIERS] if phase.name != "deliver" else ["", "", ""]
        alt = " ".join(f"{kind} {count}" for kind, count in sorted(phase.alt.items())) or "none"
        table.add_row(
            phase.name, str(phase.requests), bytes_text(phase.bytes), *reads, alt, f"{phase.mean_milliseconds:.1f}",
            str(len(phase.failures)),
        )  # fmt: skip
    return table


def to_try(home: Home, url: str, key: str, dashboard: str = "") -> str:
    """The dashboard with its login, and exact lines for curl, the aws CLI, boto3 and tierproxy itself; the key comes
    from the credentials file."""
    credentials, config = shlex.quote(_near(home.credentials_file)), shlex.quote(_near(home.config_file))
    target = f"{url}/{BUCKET}/{quote(key)}"
    python = shlex.quote(_near(Path(sys.executable)))
    program = shlex.quote(_near(Path(sys.executable).with_name("tierproxy")))
    user = '"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"'
    code = f"import boto3; print(boto3.client('s3', endpoint_url='{url}').list_buckets()['Buckets'])"
    look = f"Dashboard (this link logs you in once): {dashboard}\n\n" if dashboard else ""
    return f"""\
{look}Serving {url} -- Ctrl-C stops. In another terminal:

  . {credentials}
  curl -sS -D - -o /dev/null --aws-sigv4 aws:amz:us-east-1:s3 --user {user} \\
    -H x-amz-content-sha256:UNSIGNED-PAYLOAD {shlex.quote(target)}
  aws --endpoint-url {url} s3 ls s3://{BUCKET}/ --recursive --human-readable
  {python} -c "{code}"
  {program} ls --config {config} {BUCKET}/
  {program} explain --config {config} {shlex.quote(f"{BUCKET}/{key}")}
  {program} stats --config {config}
  {program} admin login --config {config}
"""


def _near(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
