"""Every command says what it did, and its exit code is the documented one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.cli.live import AltDown, Live, live_node, self_signed, until
from tierproxy.alt.memory import MemoryAlt
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.demo.home import BUCKET, Home
from tierproxy.cli.program import app
from tierproxy.config.load import load
from tierproxy.config.sections import AltSection
from tierproxy.disk.fsio import Files
from tierproxy.disk.lock import DataLock
from tierproxy.errors import NoSuchKey
from tierproxy.model import ObjectName
from tierproxy.testing.faults import FaultyAlt

CONTENT = b"Subject: hello\r\n\r\nbody\r\n"


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TIERPROXY_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_node(tmp_path_factory.mktemp("live") / "home") as running:
        yield running


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The configuration file of a node that ran once, stored a mail, and is stopped."""
    with live_node(tmp_path / "home") as running:
        with ObjectClient(Door.of(running.config)) as client:
            client.put(ObjectName(BUCKET, "a"), CONTENT, len(CONTENT))
        return running.file


def run(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)


def on(live: Live, *arguments: str | Path, given: str | None = None) -> Result:
    return run(*arguments, "--config", live.file, given=given)


# ---------------------------------------------------------------- without a node


def test_the_version_is_printed() -> None:
    assert run("--version").output.startswith("tierproxy 0.")


def test_help_names_the_exit_codes() -> None:
    text = " ".join(run("--help").output.split())
    assert "5 another process owns the data directory" in text


def test_wrong_usage_is_2() -> None:
    assert run("nonsense").exit_code == 2
    assert run("get", "no-slash", "--config", "/nonexistent").exit_code == 2


def test_a_configuration_with_problems_is_3_and_explained_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[disk]\nmax_byte = 1\n")
    result = run("config", "check", "--config", file)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "error: " in result.stderr
    assert "line 2: disk.max_byte: there is no such option; did you mean max_bytes?" in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_good_configuration_is_0_and_its_warnings_are_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text('[[bucket]]\nname = "mail"\n[[key]]\naccess_key_id = "A"\nsecret = "short"\n')
    file.chmod(0o600)
    result = run("config", "check", "--config", file)
    assert result.exit_code == 0
    assert "buckets mail; 1 key" in result.stdout
    assert "warning: the secret of key A is short" in result.stderr


def test_the_environment_may_name_the_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERPROXY_CONFIG", str(tmp_path / "absent.toml"))
    result = run("config", "check")
    assert result.exit_code == 3
    assert "cannot read" in result.stderr


def test_describe_prints_a_file_that_loads_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text('[[bucket]]\nname = "mail"\n[[key]]\naccess_key_id = "A"\nsecret = "hush-hush-hush-hush"\n')
    file.chmod(0o600)
    described = run("config", "describe", "--config", file).stdout
    assert "hush" not in described
    assert "hush" not in run("config", "describe", "--config", file, "--json").stdout
    file.write_text(described.replace('# secret = "****"', 'secret = "hush-hush-hush-hush"'))
    assert load(file, {}).bucket[0].name == "mail"


def test_describe_without_a_file_prints_the_one_to_start_from() -> None:
    assert run("config", "describe").stdout == Path("config/tierproxy.toml").read_text()
    assert run("config", "describe", "--markdown").stdout == Path("docs/configuration.md").read_text()


def test_a_proxy_that_does_not_answer_is_4(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write_config(home.config(AltSection(access_key_id="a"), "127.0.0.1:1"))
    result = run("ls", "--config", home.config_file)
    assert result.exit_code == 4
    assert "does not answer" in result.stderr
    assert "hint: is it running?" in result.stderr


def test_a_data_directory_that_is_not_there_is_3(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write_config(home.config(AltSection(access_key_id="a"), "127.0.0.1:1"))
    for command in (["check"], ["queue", "list"], ["catalogue", "stat"], ["catalogue", "rebuild"]):
        result = run(*command, "--config", home.config_file)
        assert result.exit_code == 3, result.output


# ---------------------------------------------------------------- objects of a running node


def test_an_object_goes_in_and_comes_out(live: Live, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(CONTENT)
    assert on(live, "put", source, "mail/odd näme +%&?/x").exit_code == 0
    assert on(live, "get", "mail/odd näme +%&?/x", target).exit_code == 0
    assert target.read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"], "no partial file is left"
    assert on(live, "get", "mail/odd näme +%&?/x").stdout_bytes == CONTENT


def test_put_takes_stdin_and_says_who_has_it(live: Live) -> None:
    result = on(live, "put", "-", "mail/stdin", "--json", given="text")
    facts = json.loads(result.stdout)
    assert facts["size"] == 4
    assert facts["tiers"] == "disk,alt"


def test_put_passes_the_wanted_ack_on(live: Live) -> None:
    assert on(live, "put", "-", "mail/around", "--ack", "alt", given="text").exit_code == 0
    assert json.loads(on(live, "stat", "mail/around", "--json").stdout)["tiers"] == "alt"
    assert on(live, "put", "-", "mail/around", "--ack", "nonsense", given="text").exit_code == 1


def test_stat_says_size_etag_and_tiers(live: Live) -> None:
    on(live, "put", "-", "mail/stat", given="hello")
    facts = json.loads(on(live, "stat", "mail/stat", "--json").stdout)
    assert facts["size"] == 5
    assert facts["etag"] == "5d41402abc4b2a76b9719d911017c592"
    assert "content-type:  application/octet-stream" in on(live, "stat", "mail/stat").stdout


def test_ls_shows_buckets_levels_and_everything(live: Live) -> None:
    for key in ("ls/a", "ls/b/c", "ls/b/d"):
        on(live, "put", "-", f"mail/{key}", given="x")
    assert on(live, "ls").stdout.split() == ["-", "-", "mail"]
    assert [row["key"] for row in json.loads(on(live, "ls", "mail/ls/", "--json").stdout)] == ["ls/b/", "ls/a"]
    recursive = json.loads(on(live, "ls", "-r", "mail/ls/", "--json").stdout)
    assert [row["key"] for row in recursive] == ["ls/a", "ls/b/c", "ls/b/d"]


def test_a_listing_of_many_pages_is_complete(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.cli.client.PAGE", 2)
    for number in range(7):
        on(live, "put", "-", f"mail/many/{number}", given="x")
    with ObjectClient(Door.of(live.config)) as client:
        assert len(list(client.objects(BUCKET, "many/"))) == 7
    assert on(live, "ls", "-r", "mail/many/").stdout.count("\n") == 7
    assert on(live, "rm", "-r", "mail/many/").stdout == "deleted 7 objects\n"


def test_rm_deletes_and_says_what_was_not_there(live: Live) -> None:
    on(live, "put", "-", "mail/rm", given="x")
    assert on(live, "rm", "mail/rm").stdout == "deleted 1 object\n"
    assert on(live, "rm", "mail/rm").exit_code == 6
    assert on(live, "rm", "--force", "mail/rm").stdout == "deleted 0 objects\n"


def test_rm_deletes_what_cannot_be_asked_for_while_alt_is_down(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    with live_node(tmp_path / "home", alt) as running:
        on(running, "put", "-", "mail/only-in-alt", "--ack", "alt", given="x")
    shutil.rmtree(tmp_path / "home" / "data")  # the new catalogue knows nothing of it
    with live_node(tmp_path / "home", alt) as running:
        alt.down()
        assert on(running, "stat", "mail/only-in-alt").exit_code == 4
        assert on(running, "rm", "mail/only-in-alt").stdout == "deleted 1 object\n"
        alt.heal()
        assert on(running, "stat", "mail/only-in-alt").exit_code == 6


@pytest.mark.parametrize("command", ["get", "stat"])
def test_an_object_that_is_not_there_is_6(live: Live, command: str) -> None:
    result = on(live, command, "mail/absent")
    assert result.exit_code == 6
    assert "error: there is no object mail/absent" in result.stderr


def test_a_bucket_that_is_not_there_is_6(live: Live) -> None:
    assert on(live, "get", "absent/key").exit_code == 6
    assert on(live, "ls", "absent/").exit_code == 6


def test_a_file_that_cannot_be_read_or_written_is_1(live: Live, tmp_path: Path) -> None:
    on(live, "put", "-", "mail/file", given="x")
    assert on(live, "put", tmp_path / "absent", "mail/file").exit_code == 1
    assert on(live, "get", "mail/file", tmp_path / "absent" / "file").exit_code == 1


def test_a_wrong_secret_is_1_and_not_shown(live: Live, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        f'[listen]\naddress = "{live.config.listen.address}"\n[[bucket]]\nname = "mail"\n'
        '[[key]]\naccess_key_id = "demo"\nsecret = "hush-hush-hush-hush"\n'
    )
    other.chmod(0o600)
    result = run("ls", "mail/", "--config", other)
    assert result.exit_code == 1
    assert "SignatureDoesNotMatch" in result.stderr
    assert "hush" not in result.output


def test_the_client_goes_on_after_a_body_it_left(live: Live) -> None:
    on(live, "put", "-", "mail/left", given="x" * 100_000)
    with ObjectClient(Door.of(live.config)) as client:
        with client.get(ObjectName(BUCKET, "left")) as answer:
            assert answer.status == 200
        with pytest.raises(NoSuchKey):
            client.head(ObjectName(BUCKET, "none"))
        assert client.read(ObjectName(BUCKET, "left"))[1] == b"x" * 100_000


def test_commands_reach_a_node_by_its_unix_socket(tmp_path: Path) -> None:
    with live_node(tmp_path / "home", address="", unix_socket=str(tmp_path / "s3.sock")) as running:
        assert on(running, "put", "-", "mail/unix", given="x").exit_code == 0
        assert on(running, "get", "mail/unix").stdout == "x"


def test_commands_reach_a_node_that_asks_nobody(tmp_path: Path) -> None:
    with live_node(tmp_path / "home", auth="none") as running:
        assert Door.of(running.config).access_key_id == ""
        assert on(running, "put", "-", "mail/open", given="x").exit_code == 0
        assert on(running, "get", "mail/open").stdout == "x"


def test_commands_reach_a_node_by_tls_and_trust_only_its_certificate(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path / "one")
    with live_node(tmp_path / "home", tls_certificate=str(certificate), tls_key=str(key)) as running:
        assert on(running, "put", "-", "mail/tls", given="x").exit_code == 0
        assert on(running, "get", "mail/tls").stdout == "x"
        other, other_key = self_signed(tmp_path / "other")
        text = running.file.read_text().replace(str(certificate), str(other)).replace(str(key), str(other_key))
        running.file.write_text(text)
        result = on(running, "get", "mail/tls")
        assert result.exit_code == 4
        assert "CERTIFICATE_VERIFY_FAILED" in result.stderr


# ---------------------------------------------------------------- data directory


def test_a_data_directory_in_use_is_5(live: Live) -> None:
    for command in (["check"], ["catalogue", "rebuild"], ["catalogue", "sync"]):
        result = on(live, *command)
        assert result.exit_code == 5, result.output
        assert "hint: stop process" in result.stderr


def test_queue_and_stat_work_beside_a_running_node(live: Live) -> None:
    assert json.loads(on(live, "queue", "list", "--json").stdout)["totals"]["failing"] == 0
    assert json.loads(on(live, "catalogue", "stat", "--json").stdout)["buckets"]["mail"]["complete"] is True
    assert "mail" in on(live, "catalogue", "stat").stdout
    assert json.loads(on(live, "queue", "hurry", "--json").stdout) == {"hurried": 0}
    assert on(live, "queue", "retry", "mail/nothing-there").exit_code == 6


@pytest.mark.parametrize("command", [["queue", "list"], ["queue", "hurry"], ["catalogue", "stat"]], ids=" ".join)
def test_a_catalogue_of_another_user_is_3(stopped: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    def refused(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tierproxy.catalogue.outside.Path.exists", refused)
    result = run(*command, "--config", stopped)
    assert result.exit_code == 3
    assert "Permission denied\nhint: run this as the user of the node" in result.stderr


def test_the_queue_lists_what_alt_does_not_have(tmp_path: Path) -> None:
    with live_node(tmp_path / "home", AltDown()) as running:
        with ObjectClient(Door.of(running.config)) as client:
            assert client.put(ObjectName(BUCKET, "late"), CONTENT, len(CONTENT)).headers["x-tierproxy-tiers"] == "disk"
            on(running, "queue", "hurry")
            until(lambda: json.loads(on(running, "queue", "list", "--json").stdout)["totals"]["failing"] == 1)
        shown = json.loads(on(running, "queue", "list", "--json").stdout)
        assert [(job["name"], job["kind"]) for job in shown["jobs"]] == [("mail/late", "put")]
        assert shown["totals"]["bytes"] == len(CONTENT)
        header, job, sentence = on(running, "queue", "list").stdout.splitlines()
        assert header.split() == ["kind", "size", "queued", "tries", "next", "object"]
        assert "mail/late  (AltUnavailable: " in job, "one line, whatever its width: for grep"
        assert sentence.startswith("1 waiting")
        assert json.loads(on(running, "queue", "retry", "mail/late", "--json").stdout) == {"hurried": 1}


def test_check_of_a_sound_directory_is_0(stopped: Path) -> None:
    result = run("check", "--config", stopped)
    assert result.exit_code == 0, result.output
    assert "everything agrees" in result.stdout


def test_check_finds_damage_with_1_and_repairs_it(stopped: Path) -> None:
    [blob] = [path for path in (stopped.parent / "data" / "blobs").rglob("*") if path.is_file()]
    content = bytearray(blob.read_bytes())
    content[0] ^= 1
    blob.write_bytes(content)
    found = run("check", "--json", "--config", stopped)
    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"]["blob damaged"]["count"] == 1
    assert "\nblob damaged: mail/a" in run("check", "--config", stopped).stdout, "names are neither cut nor folded"
    assert run("check", "--repair", "--config", stopped).exit_code == 0
    assert run("check", "--config", stopped).exit_code == 0


def test_a_lost_catalogue_is_rebuilt_and_the_old_one_kept(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.cli.offline.open_alt", lambda *_: MemoryAlt())
    data = stopped.parent / "data"
    (data / "catalogue" / "catalogue.sqlite").write_bytes(b"not a database at all" * 100)
    assert (data / "catalogue" / "reserve").exists()
    assert run("catalogue", "stat", "--config", stopped).exit_code == 4
    result = run("catalogue", "rebuild", "--json", "--config", stopped)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["files"], report["dirty"]) == (1, 1)
    assert (Path(report["old_catalogue"]) / "catalogue.sqlite").exists()
    assert not (Path(report["old_catalogue"]) / "reserve").exists()  # room for one catalogue is enough
    assert not (data / "rebuild").exists()
    assert json.loads(run("catalogue", "stat", "--json", "--config", stopped).stdout)["total"]["objects"] == 1


@pytest.mark.parametrize("command", [["check"], ["check", "--repair"], ["catalogue", "sync"]], ids=" ".join)
def test_no_command_puts_an_empty_catalogue_where_one_was_lost(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("tierproxy.cli.offline.open_alt", lambda *_: MemoryAlt())
    data = stopped.parent / "data"
    shutil.rmtree(data / "catalogue")
    result = run(*command, "--config", stopped)
    assert result.exit_code == 3, result.output
    assert "hint: run `tierproxy catalogue rebuild`" in result.stderr
    assert not (data / "catalogue" / "catalogue.sqlite").exists()


def test_sync_learns_what_alt_holds(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.cli.offline.open_alt", lambda *_: MemoryAlt())
    result = run("catalogue", "sync", "--json", "--config", stopped)
    [report] = json.loads(result.stdout)
    assert report["complete"] is True
    assert report["lost"] == 1, "this alt is empty"
    assert result.exit_code == 1
    assert run("catalogue", "sync", "absent", "--config", stopped).exit_code == 6


def test_an_empty_directory_learns_everything_from_alt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alt = MemoryAlt()
    with live_node(tmp_path / "home", alt) as running, ObjectClient(Door.of(running.config)) as client:
        client.put(ObjectName(BUCKET, "a"), CONTENT, len(CONTENT))
    shutil.rmtree(tmp_path / "home" / "data")
    (tmp_path / "home" / "data").mkdir()
    monkeypatch.setattr("tierproxy.cli.offline.open_alt", lambda *_: alt)
    result = run("catalogue", "sync", "--config", running.file)
    assert result.exit_code == 0, result.output
    assert "mail: 1 objects in alt, 1 new, 0 lost in alt, 0 differing" in result.stdout
    with live_node(tmp_path / "home", alt) as again:
        assert on(again, "get", "mail/a").stdout_bytes == CONTENT


def test_the_lock_is_given_back_after_an_offline_command(stopped: Path) -> None:
    run("check", "--config", stopped)
    DataLock.take(stopped.parent / "data", Files()).release()
