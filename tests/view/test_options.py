from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import ConfigError, UsageError
from edged.feed.listener import listen
from edged.view.options import load_view_settings
from edged.view.places import changes_of, find_socket

TOKEN = "0123456789abcdef0123"


def load(folder: Path, text: str) -> object:
    (folder / "view.toml").write_text(text)
    return load_view_settings(folder / "view.toml", {})


def test_without_a_file_it_is_for_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.view.options.CONFIG", tmp_path / "view.toml")
    listen = load_view_settings(None, {}).listen
    assert (listen.address, listen.port, listen.token.get_secret_value()) == ("127.0.0.1", 8710, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[listen]\naddress = "0.0.0.0"',
            "view.toml:1: [listen]: 0.0.0.0 is reached from other machines: give a token",
        ),
        (
            f'[listen]\naddress = "::"\ntoken = "{TOKEN}"',
            "would go there in the clear: give cert_file and key_file, or say proxy = true",
        ),
        ("[listen]\nproxy = true", "the proxy is reached from other machines: give a token"),
        ("listen = 1", "view.toml:1: [listen]: input should be a valid"),
        ("[[events]]\nfile = 1", "[events]: input should be a valid"),
        ('[listen]\ntoken = "short"', "a token has at least 16 characters"),
        ('[listen]\ncert_file = "/a"', "cert_file and key_file belong together"),
        ("[listen]\nprot = 1", "view.toml:2: [listen] prot: unknown key; did you mean 'port'?"),
        ("[lisen]\nport = 1", "view.toml:1: [lisen]: unknown key; did you mean 'listen'?"),
        ("[listen]\nport = 70000", "port: input should be less than or equal to 65535, got 70000"),
        (f'[[listen]]\ntoken = "{TOKEN}"', "[listen]: input should be a valid"),
        (f'[listen]\ntoken = ["{TOKEN}"]', "view.toml:2: [listen] token: expected text in quotes"),
        ("[listen]\naddress = 1", "view.toml:2: [listen] address: expected text in quotes, got 1"),
        ('[listen]\ntoken_file = "/no-such-file"', "/no-such-file cannot be read by user"),
        ("[listen\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_others_may_look_with_a_token_over_tls_or_a_proxy(tmp_path: Path) -> None:
    load(tmp_path, f'[listen]\naddress = "0.0.0.0"\ntoken = "{TOKEN}"\nproxy = true')
    load(tmp_path, f'[listen]\naddress = "0.0.0.0"\ntoken = "{TOKEN}"\ncert_file = "/c"\nkey_file = "/k"')


def test_the_token_may_be_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "view-token").write_text(TOKEN + "\n")
    (tmp_path / "view.toml").write_text("[listen]\nport = 9000\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    listen = load_view_settings(None, {}).listen
    assert (listen.port, listen.token.get_secret_value()) == (9000, TOKEN)
    (tmp_path / "view-token").write_text("\n")
    assert not load_view_settings(None, {}).listen.token.get_secret_value()


def test_a_certificate_may_be_a_credential_and_events_have_a_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("view-cert", "view-key"):
        (tmp_path / name).write_text("pem")
    (tmp_path / "view.toml").write_text("")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = load_view_settings(None, {}, events=Path("/usual"))
    assert (settings.listen.cert_file, settings.listen.key_file) == (tmp_path / "view-cert", tmp_path / "view-key")
    assert settings.events.file == Path("/usual")
    (tmp_path / "view.toml").write_text('[events]\nfile = "/own"')
    assert load_view_settings(None, {}, events=Path("/usual")).events.file == Path("/own")
    assert load_view_settings(None, {"events": {"file": Path("/said")}}).events.file == Path("/said")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("127.0.0.1:9000", {"address": "127.0.0.1", "port": 9000}),
        ("[::1]:0", {"address": "::1", "port": 0}),
        (":9000", {"port": 9000}),
        ("9000", {"port": 9000}),
    ],
)
def test_the_command_line_names_an_address(said: str, wanted: dict[str, object]) -> None:
    assert changes_of(said, None, None) == {"listen": wanted}


@pytest.mark.parametrize("said", ["localhost", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x", ""])
def test_what_is_no_address_is_refused(said: str) -> None:
    with pytest.raises(UsageError, match="--listen must be ADDRESS:PORT"):
        changes_of(said, None, None)


def test_the_socket_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = tmp_path / "run"
    monkeypatch.setattr("edged.view.places.RUNTIME_DIR", service)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert find_socket() == service / "feed.sock"
    for name in ("one", "two"):
        (tmp_path / "user" / "edged" / name).mkdir(parents=True)
    (tmp_path / "user" / "edged" / "two" / "feed.sock").touch()  # of a daemon that was killed
    one = listen(tmp_path / "user" / "edged" / "one" / "feed.sock", group="")
    assert find_socket() == tmp_path / "user" / "edged" / "one" / "feed.sock"
    (tmp_path / "user" / "edged" / "two" / "feed.sock").unlink()
    two = listen(tmp_path / "user" / "edged" / "two" / "feed.sock", group="")
    with pytest.raises(UsageError, match=r"several daemons run: .*one.*two.*name one with --socket"):
        find_socket()
    with one, two, listen(service / "feed.sock", group=""):
        assert find_socket() == service / "feed.sock"
