"""A configuration file is taken as it is meant, or refused with every reason at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.config.load import examine, load
from tierproxy.config.sections import Config
from tierproxy.config.values import Duration, Share, Size
from tierproxy.errors import ConfigError
from tierproxy.model import Ack, FillPolicy, OnAltDown

SECRET = "a-secret-of-enough-letters"
MINIMAL = f"""
[[bucket]]
name = "mail"
[[key]]
access_key_id = "mailstore"
secret = "{SECRET}"
"""


def write(directory: Path, text: str, mode: int = 0o600) -> Path:
    path = directory / "tierproxy.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def refusal(directory: Path, text: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(directory, text), environment or {})
    return str(caught.value)


def test_a_minimal_file_gives_defaults_for_the_rest(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL), {})
    assert config.disk == Config().disk
    assert [bucket.name for bucket in config.bucket] == ["mail"]
    assert config.key[0].secret == SECRET


def test_every_type_of_value_is_read(tmp_path: Path) -> None:
    text = """
    [node]
    access_log = true
    shutdown_grace = "1m"
    [listen]
    max_concurrent_requests = 7
    [disk]
    max_bytes = "64GiB"
    high_water = 0.9
    low_water = 0.5
    hard_limit = 1
    min_free = "20GiB"
    [write]
    ack = "disk"
    [[bucket]]
    name = "mail"
    on_alt_down = "refuse"
    fill = ""
    [[bucket.policy]]
    key = "*.index"
    fill = "second-read"
    [[key]]
    access_key_id = "A"
    secret = "a-secret-of-enough-letters"
    buckets = ["mail/alice/"]
    access = "read"
    """
    config = load(write(tmp_path, text), {})
    assert config.node.access_log is True
    assert config.node.shutdown_grace == Duration(60)
    assert config.listen.max_concurrent_requests == 7
    assert config.disk.max_bytes == Size(64 * 2**30)
    assert config.disk.hard_limit == 1.0
    assert config.disk.min_free == Share(bytes=20 * 2**30)
    assert config.write.ack is Ack.DISK
    assert config.bucket[0].on_alt_down is OnAltDown.REFUSE
    assert config.bucket[0].fill is None
    assert config.bucket[0].policy[0].fill is FillPolicy.SECOND_READ
    assert config.key[0].buckets == ("mail/alice/",)


def test_all_problems_are_reported_together_with_their_lines(tmp_path: Path) -> None:
    text = MINIMAL + '[disk]\nhigh_watr = 0.9\nthreads = 0\n[[bucket]]\nname = "more"\nack = "disc"\n'
    message = refusal(tmp_path, text)
    assert "has 3 problems" in message
    assert "line 8: disk.high_watr: there is no such option; did you mean high_water?" in message
    assert "line 9: disk.threads: 0 is too small: at least 1" in message
    assert 'line 12: bucket[1].ack: "disc" is not one of both, disk, alt; did you mean disk?' in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[dsk]\n", "dsk: there is no such section; did you mean disk?"),
        ("top = 1\n", "top: there is no such section; there are node, listen"),
        ("disk = 1\n", "disk: 1 is not a table: write [disk]"),
        ("bucket = 1\n", "bucket: is one of several: write [[bucket]]"),
        ("[node]\naccess_log = 1\n", "node.access_log: 1 is not true or false"),
        ("[node]\ndata_dir = 1\n", 'node.data_dir: 1 is not a text: write it in quotes, as in "mail"'),
        ("[node]\ndata_dir = {}\n", "node.data_dir: a dict is not a text"),
        (
            "[node]\nshutdown_grace = 20\n",
            'node.shutdown_grace: 20 is not a duration: write it with a unit, as in "30s"',
        ),
        ('[node]\nshutdown_grace = "20"\n', "node.shutdown_grace: '20' is not a duration: write a unit"),
        ('[disk]\nmax_bytes = "64Gi"\n', "disk.max_bytes: '64Gi' is not a size"),
        ("[disk]\nmax_bytes = -1\n", "disk.max_bytes: '-1' is not a size"),
        ("[disk]\nmax_bytes = true\n", "disk.max_bytes: true is not a size"),
        ("[disk]\nmax_bytes = 5\n", 'disk.max_bytes: 5 is too small: at least "1MiB"'),
        ("[disk]\nhigh_water = nan\n", "disk.high_water: nan is not a finite number"),
        ('[disk]\nhigh_water = "1"\n', 'disk.high_water: "1" is not a number'),
        ("[disk]\nthreads = 1.5\n", "disk.threads: 1.5 is not a whole number"),
        ('[disk]\nmin_free = "5 percent"\n', "disk.min_free: '5 percent' is not a size"),
        ("[[key]]\nbuckets = [1]\n", "key[0].buckets: a list is not a list of texts"),
        ("[[bucket]]\n", "bucket[0]: name is missing (name of the bucket)"),
        ('[[key]]\naccess_key_id = "A"\nsecret = "****"\n', "key[0].secret: **** stands for a secret"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_would(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(tmp_path, text)


def test_a_file_that_is_not_toml_is_refused_without_repeating_a_secret(tmp_path: Path) -> None:
    message = refusal(tmp_path, '[[key]]\nsecret = "hush\n')
    assert "is not TOML" in message
    assert "line 2" in message
    assert "hush" not in message


def test_a_file_that_is_not_there_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read") as caught:
        load(tmp_path / "none.toml", {})
    assert "tierproxy config describe" in caught.value.hint


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# Gr\xfc\xdfe\n")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(path, {})


# ---------------------------------------------------------------- environment


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environment = {
        "TIERPROXY_DISK_MAX_BYTES": "50GiB",
        "TIERPROXY_DYNAMIC_BUCKETS_ENABLED": "false",
        "TIERPROXY_QUEUE_WORKERS": "3",
        "TIERPROXY_DISK_LOW_WATER": "0.5",
        "TIERPROXY_BUCKET_0_ACK": "alt",
        "TIERPROXY_KEY_0_BUCKETS": "mail, mail/alice",
        "PATH": "/bin",
    }
    config = load(write(tmp_path, MINIMAL), environment)
    assert config.disk.max_bytes == 50 * 2**30
    assert config.dynamic_buckets.enabled is False
    assert config.queue.workers == 3
    assert config.disk.low_water == 0.5
    assert config.bucket[0].ack is Ack.ALT
    assert config.key[0].buckets == ("mail", "mail/alice")


def test_the_environment_alone_is_enough() -> None:
    environment = {
        "TIERPROXY_BUCKET_0_NAME": "mail",
        "TIERPROXY_BUCKET_1_NAME": "archive",
        "TIERPROXY_KEY_0_ACCESS_KEY_ID": "A",
        "TIERPROXY_KEY_0_SECRET": SECRET,
        "TIERPROXY_ALT_ACCESS_KEY_ID": "B",
        "TIERPROXY_ALT_SECRET_ACCESS_KEY": "hushhush",
    }
    config = load(None, environment)
    assert [bucket.name for bucket in config.bucket] == ["mail", "archive"]
    assert config.alt.secret_access_key == "hushhush"


def test_a_variable_for_an_option_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL, {"TIERPROXY_DISK_MAX_BYTE": "1"})
    assert "TIERPROXY_DISK_MAX_BYTE: is an environment variable for [disk]" in message
    assert "did you mean TIERPROXY_DISK_MAX_BYTES?" in message


def test_a_gap_in_the_numbers_of_array_entries_is_refused(tmp_path: Path) -> None:
    assert "TIERPROXY_BUCKET_5_NAME: skips a number" in refusal(tmp_path, MINIMAL, {"TIERPROXY_BUCKET_5_NAME": "x"})


def test_a_wrong_value_in_the_environment_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL, {"TIERPROXY_QUEUE_WORKERS": "many", "TIERPROXY_NODE_ACCESS_LOG": "maybe"})
    assert 'queue.workers: "many" is not a whole number' in message
    assert 'node.access_log: "maybe" is not true or false' in message


def test_a_variable_of_somebody_else_is_ignored_with_a_warning(tmp_path: Path) -> None:
    loaded = examine(write(tmp_path, MINIMAL), {"TIERPROXY_PORT": "tcp://10.0.0.1:9300", "TIERPROXY_CONFIG": "x"})
    assert loaded.warnings == ("the environment variable TIERPROXY_PORT names no section and is ignored",)


# ---------------------------------------------------------------- secrets


def key_with(line: str) -> str:
    return f'[[bucket]]\nname = "mail"\n[[key]]\naccess_key_id = "A"\n{line}\n'


def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    loaded = examine(write(tmp_path, key_with(f'secret_file = "{secret}"')), {})
    assert loaded.config.key[0].secret == SECRET
    assert loaded.warnings == ()


def test_a_secret_comes_from_the_environment(tmp_path: Path) -> None:
    config = load(write(tmp_path, key_with('secret_env = "HUSH"')), {"HUSH": SECRET})
    assert config.key[0].secret == SECRET


def test_the_secret_of_alt_comes_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "alt"
    secret.write_text("alt-secret")
    secret.chmod(0o600)
    text = MINIMAL + f'[alt]\naccess_key_id = "B"\nsecret_access_key_file = "{secret}"\n'
    assert load(write(tmp_path, text), {}).alt.secret_access_key == "alt-secret"
    assert "not both" in refusal(tmp_path, text + 'secret_access_key = "x"\n')


def test_a_secret_file_that_everybody_can_read_is_warned_about(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    loaded = examine(write(tmp_path, key_with(f'secret_file = "{secret}"')), {})
    assert loaded.warnings == (f"everybody on this machine can read the secret in {secret}: chmod 600 {secret}",)


def test_a_configuration_file_with_secrets_that_everybody_can_read_is_warned_about(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL, mode=0o644)
    assert examine(path, {}).warnings == (
        f"everybody on this machine can read the secrets in {path}: chmod 600 {path}",
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "key[0]: no secret is given: use one of secret, secret_file and secret_env"),
        ('secret = "x"\nsecret_env = "Y"', "key[0]: secret and secret_env are given, but only one may be"),
        ('secret_env = "NOPE"', "key[0].secret_env: the environment variable NOPE is not set or empty"),
        ('secret_file = "/nonexistent/secret"', "cannot read /nonexistent/secret: No such file or directory"),
        ('secret_file = "/dev/null"', "/dev/null is empty"),
    ],
)
def test_a_secret_that_is_not_to_be_had_is_refused(tmp_path: Path, line: str, expected: str) -> None:
    assert expected in refusal(tmp_path, key_with(line))


def test_no_secret_is_shown_by_repr(tmp_path: Path) -> None:
    text = MINIMAL + '[alt]\naccess_key_id = "B"\nsecret_access_key = "alt-hush"\n'
    shown = repr(load(write(tmp_path, text), {}))
    assert "mailstore" in shown
    assert SECRET not in shown
    assert "alt-hush" not in shown


def test_no_secret_is_repeated_by_a_refusal(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL + '[alt]\nsecret_access_key = "alt-hush"\nendpoint = "x"\n[nope]\n')
    assert SECRET not in message
    assert "alt-hush" not in message
