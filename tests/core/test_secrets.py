"""A known secret shows in no spelling that a program may give it."""

from __future__ import annotations

import base64
import html
import json
import secrets
import time
import timeit
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.core.folding import fold
from edged.core.redact import redact, remember_source
from edged.core.secrets import forget, hide, remember


def spellings(secret: str) -> Iterator[str]:
    yield secret
    yield secret.upper() if secret.isascii() else secret
    yield from (quote(secret, safe=""), quote(secret, safe="").lower(), quote(secret), quote_plus(secret))
    yield "".join(f"%{byte:02x}" for byte in secret.encode())
    yield quote(quote(secret, safe=""), safe="")
    yield from (json.dumps(secret), json.dumps(secret, ensure_ascii=False), json.dumps(json.dumps(secret)))
    yield from (json.dumps({"url": quote(secret)}), repr(secret), repr(secret.encode()), html.escape(secret))
    for user in ("", "a", "ab", "abc"):
        pair = f"{user}:{secret}".encode()
        yield from (base64.b64encode(pair).decode(), base64.urlsafe_b64encode(pair).decode())
    yield from (base64.b64encode(secret.encode()).decode(), secret.encode().hex(), secret.encode().hex().upper())


LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), include_characters=" ")


@settings(max_examples=150, deadline=None)
@given(st.text(LETTERS, min_size=6, max_size=20).filter(lambda text: len(text.strip(" *")) > 5))
def test_a_secret_is_hidden_however_it_is_spelt(secret: str) -> None:
    forget()
    remember([secret])
    for said in spellings(secret):
        for before, after in (("x", "y"), ("user:", "@host"), ('"', '"')):
            shown = hide(before + said + after)
            assert "***" in shown, (secret, said)
            assert fold(secret).data.strip() not in fold(shown).data, (secret, said, shown)


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        pytest.param("12", "frame 12 of 120 pictures", "frame *** of 120 pictures", id="short-alone"),
        pytest.param("ab", "cab ab_ /ab/ %61b@h", "cab ***_ /***/ ***@h", id="short"),
        pytest.param("hunter2", "HUNTER2 xhunter2y", "*** x***y", id="inside"),
        pytest.param("ab\\n", 'said "ab\\\\n" and ab\\n', 'said "***" and ***', id="backslash"),
        pytest.param("a+b c%41d", "a%2Bb%20c%2541d a%2bb+c%2541d a+b c%41d", "*** *** ***", id="plus-and-percent"),
        pytest.param("pässwörd", "p%C3%A4ssw%c3%b6rd p%E4ssw%F6rd p\\u00e4ssw\\u00F6rd", "*** *** ***", id="umlaut"),
        pytest.param("geheim€", "geheim%E2%82%AC geheim\\342\\202\\254", "*** ***", id="octal"),
        pytest.param("pässwörd€😀", "p\\xe4ssw\\xf6rd\\u20ac\\U0001f600 ok", "*** ok", id="python"),
        pytest.param("hunter2", "Basic dmlld2VyOmh1bnRlcjI= ok", "Basic *** ok", id="basic"),
        pytest.param("***", "***", "***", id="stars"),
        pytest.param("", "nothing", "nothing", id="empty"),
    ],
)
def test_hide(secret: str, text: str, shown: str) -> None:
    remember([secret])
    assert hide(text) == shown


def test_a_line_costs_the_same_with_one_secret_and_with_those_of_many_cameras() -> None:
    line = "camera gate17: offline: rtsp://***@10.0.0.4/stream: Connection refused; check address and network" * 10

    def least_s() -> float:
        return min(timeit.repeat(lambda: hide(line), number=1, repeat=20))

    remember(["Hunter2%of-Gate"])
    with_one = least_s()
    remember(f"{secrets.token_urlsafe(12)}%" for _ in range(1000))
    assert least_s() < 20 * with_one, "looking for each of them in turn takes some thousand times as long"


def test_a_long_word_of_base64_takes_time_in_proportion() -> None:
    """All of a word is hidden where a secret lies in it; 40,000 letters with one at each fourth once took 74 s."""
    remember(["aaaaaaaa"])
    start = time.process_time()
    assert hide("YWFh" * 10_000) == "***"
    assert time.process_time() - start < 2


def test_a_short_password_is_hidden_where_basic_sends_it_with_its_user() -> None:
    remember_source("http://admin:1@10.0.0.9/")
    sent = base64.b64encode(b"admin:1").decode()
    assert sent not in redact(f"sent {sent} to 10.0.0.9")


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://viewer:hunter2@h/s",
        "rtsp://viewer:p/hunter2/w@h/s",
        "rtsp://viewer:a#hunter2?b@h/s",
        "rtsp://viewer:hun ter hunter2@h/s",
        "rtsp:/viewer:hunter2@h/s",
        "viewer:hunter2@h/s",
        "//viewer:hunter2@/dev/video0",
        "rtsp://hunter2@h/s",
        "rtsp://h/user=admin_password=hunter2_channel=1",
        "http://h/video.cgi;user=admin;pwd=hunter2;x=1",
        "http://h/v?loginuse=admin&loginpas=x&pwd=hunter2",
        "gst:rtspsrc location=rtsp://viewer:hunter2@h/s ! appsink",
        'gst:rtspsrc location=rtsp://h/s user-id=viewer user-pw="hunter2" ! appsink',
    ],
)
def test_what_a_source_holds_is_known_from_then_on(source: str) -> None:
    remember_source(source)
    assert "hunter2" not in redact(f"camera gate: {source} cannot be opened")
    for said in ("unknown option hunter2 in the address", "nonnumeric port: 'hunter2@h'", "401 for hunter%32"):
        assert "***" in redact(said)
