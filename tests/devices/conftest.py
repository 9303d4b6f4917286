"""Devices to break, each on a network of its own that the test is on the host's side of."""

from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from .lab import Board, Network, Phone, Userland, missing


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """A network whose host's side this thread is on, with a home of its own."""
    if reason := missing():
        pytest.skip(reason)
    monkeypatch.setenv("XDG_CACHE_HOME", platformdirs.user_cache_dir())  # what was built once is not built again
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with Network(tmp_path / "network") as network:
        for name, value in network.env.items():
            monkeypatch.setenv(name, value)
        with network.enter():
            yield network


def _phone(network: Network, userland: Userland = "native", secure: bool = False) -> Iterator[Phone]:
    if reason := missing(userland, adb=True):
        pytest.skip(reason)
    with Phone(network, userland, secure) as phone:
        yield phone


def _board(network: Network, userland: Userland = "native") -> Iterator[Board]:
    if reason := missing(userland):
        pytest.skip(reason)
    with Board(network, userland) as board:
        yield board


@pytest.fixture
def phone(network: Network) -> Iterator[Phone]:
    """A phone with this machine's programs, which lets everybody in."""
    yield from _phone(network)


@pytest.fixture
def secure_phone(network: Network) -> Iterator[Phone]:
    """A phone with this machine's programs, which no key has been accepted on yet."""
    yield from _phone(network, secure=True)


@pytest.fixture
def arm_phone(network: Network) -> Iterator[Phone]:
    """An emulated arm64 phone without glibc, which lets everybody in."""
    yield from _phone(network, "arm64")


@pytest.fixture
def board(network: Network) -> Iterator[Board]:
    """A board with this machine's programs, over ssh."""
    yield from _board(network)


@pytest.fixture
def arm_board(network: Network) -> Iterator[Board]:
    """An emulated arm64 board with Python and onnxruntime, over ssh."""
    yield from _board(network, "arm64")
