"""What every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from edged.core.addresses import forget_addresses
from edged.core.secrets import forget
from tests import parallel

if TYPE_CHECKING:
    from tests.brokers import Broker

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # started in the background; every program under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    if parallel.is_worker(config):
        parallel.enter_own_network()
    elif getattr(config.option, "numprocesses", None):
        parallel.offer_own_networks()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from tests.scheduling import GroupScheduling  # a machine may have pytest without xdist

    return GroupScheduling(config, log)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real weights, pictures and videos; tests that need it skip where it is not given."""
    folder = os.environ.get("EDGED_TEST_DATA", "")
    if not folder:
        pytest.skip("EDGED_TEST_DATA is not set: no real weights, pictures and videos to test on")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"EDGED_TEST_DATA={folder} is not a directory")
    return path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running mosquitto that admits everybody."""
    from tests.brokers import Broker, free_port  # a machine may have pytest without paho

    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder, free_port()).start()
    yield broker
    broker.kill()


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a daemon keeps for its next start must not reach another test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state-{uuid4().hex}"))


@pytest.fixture(autouse=True)
def _nothing_secret() -> Iterator[None]:  # what one test holds for a password must not be hidden in another's messages
    yield
    forget()
    forget_addresses()
