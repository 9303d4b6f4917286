"""Who is let in over ssh and who is talked to, by the user's own settings; and what is said where that fails."""

import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from profilers import shells
from profilers.errors import DeviceError, InvalidInputError, LostError
from profilers.shells import Shell, ssh

from .lab import Board, Network

needs_sshd = pytest.mark.ssh


def failure(connect: str, use: Callable[[Shell], object] = lambda shell: shell.run(["true"])) -> DeviceError:
    with closing(shells.open_shell(connect)) as shell, pytest.raises(DeviceError) as caught:
        use(shell)
    return caught.value


def for_good(error: DeviceError) -> str:
    """The text of an error that trying again does not help against."""
    assert not isinstance(error, LostError), error
    return str(error)


@needs_sshd
def test_a_key_that_does_not_fit_is_for_good(board: Board) -> None:
    (board.etc / "authorized_keys").write_text("")
    text = for_good(failure(board.address))
    assert "user root" in text and text.endswith("ssh-copy-id -p 2222 root@10.77.0.2")


@needs_sshd
def test_a_changed_host_key_is_refused_even_in_the_middle_with_the_way_to_forget_it(board: Board) -> None:
    def change_and_use(shell: Shell) -> None:
        shell.run(["true"])
        board.change_host_key()
        for _ in range(50):  # until it is known on this side that the old connection has ended
            shell.run(["true"])
            time.sleep(0.1)

    assert "forget the old key by: ssh-keygen -R '[10.77.0.2]:2222'," in for_good(
        failure(board.address, change_and_use)
    )


@needs_sshd
@pytest.mark.parametrize(
    "setting", ["", "UserKnownHostsFile none", "UserKnownHostsFile /dev/null", "StrictHostKeyChecking no"]
)
def test_an_unknown_host_is_refused_whatever_the_settings_say(board: Board, setting: str) -> None:
    (board.client / "known_hosts").write_text("")
    settings = (board.client / "config").read_text()
    (board.client / "config").write_text(f"{setting}\n{settings}")
    text = for_good(failure(board.address))
    assert "not known yet" in text and text.endswith("connect once by: ssh -p 2222 root@10.77.0.2")


@needs_sshd
def test_names_users_and_ports_of_the_settings_are_used_and_no_terminal(board: Board) -> None:
    with (board.client / "config").open("a") as config:
        config.write("Host pi\nHostName 10.77.0.2\nPort 2222\nUser root\nRequestTTY force\n")
        config.write(f"IdentityFile {board.client}/id\n")
    with closing(shells.open_shell("ssh://pi")) as shell:
        assert shell.run(["sh", "-c", "tty; id -un; echo err >&2"]) == shells.Done(0, "not a tty\nroot\n", "err\n")


@needs_sshd
def test_a_jump_host_is_gone_through_and_both_hosts_must_be_known(board: Board) -> None:
    known = board.client / "known_hosts"
    (board.client / "config").write_text(
        "Host behind\nHostName 127.0.0.1\nPort 2222\nUser root\nProxyJump root@10.77.0.2:2222\n"
        f"Host *\nIdentityFile {board.client}/id\nUserKnownHostsFile {known}\n"
    )
    jump = known.read_text()
    behind = jump.replace("10.77.0.2", "127.0.0.1")
    assert for_good(failure("ssh://behind")).endswith("connect once by: ssh -p 2222 root@127.0.0.1")
    known.write_text(behind)
    text = for_good(failure("ssh://behind"))
    assert "no way through the jump host" in text and "for host 10.77.0.2" in text
    known.write_text(jump + behind)
    with closing(shells.open_shell("ssh://behind")) as shell:
        assert shell.run(["sh", "-c", "echo $SSH_CONNECTION"]).out.startswith("127.0.0.1 ")


@needs_sshd
@pytest.mark.parametrize(
    ("settings", "fault"), [("IdentityFile /no/key\n", "'/no/key'"), ("Host\n", "config line 1: Missing Host value")]
)
def test_settings_that_cannot_be_used_are_named(board: Board, settings: str, fault: str) -> None:
    (board.client / "config").write_text(settings)
    text = for_good(failure(board.address))
    assert "your ssh settings cannot be used" in text and fault in text


@needs_sshd
@pytest.mark.parametrize(
    ("address", "words"), [("10.77.0.99", "no ssh server answers"), ("10.99.0.1", "Network is unreachable")]
)
def test_a_device_that_may_yet_come_is_a_loss(network: Network, address: str, words: str) -> None:
    error = failure(f"ssh://root@{address}")
    assert isinstance(error, LostError) and words in str(error)


@needs_sshd
def test_a_proxy_that_reaches_nothing_is_told_as_the_proxy(board: Board) -> None:
    (board.client / "config").write_text("Host behind\nProxyCommand false\n")
    error = failure("ssh://root@behind")
    assert isinstance(error, LostError) and "no way through the jump host or proxy" in str(error)


@needs_sshd
def test_a_server_that_is_no_ssh_server_is_told_as_one_that_answers(network: Network) -> None:
    def turn_away(server: socket.socket) -> None:
        with server.accept()[0] as connection:
            connection.recv(1000)  # what is unread when it closes would reset the connection

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=turn_away, args=(server,), daemon=True).start()
        error = failure(f"ssh://root@127.0.0.1:{server.getsockname()[1]}")
    assert isinstance(error, LostError) and "ended the connection before any ssh session" in str(error)


@needs_sshd
def test_a_name_that_nobody_knows_is_said_to_be_one(network: Network) -> None:
    assert "no address of no-such-board.invalid is known" in str(failure("ssh://no-such-board.invalid"))


def test_without_asyncssh_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    assert "pip install 'hwnas[devices]'" in for_good(failure("ssh://root@board"))


@pytest.mark.parametrize(
    "address", ["board", "root@board.local", "me@[fe80::1%eth0]:22", "[::1]", "10.0.0.2:65535", "me@domain@host_1"]
)
def test_addresses_are_what_the_ssh_program_takes(address: str) -> None:
    assert str(ssh.open_shell(address)) == address


@pytest.mark.parametrize(
    "address",
    [
        *("", "@board", "root@", "-x", "-x@board", "a b", "a;b", "$(reboot)", "a\nb", "me\n@board", "board/path"),
        *(
            "board:",
            "board:0",
            "board:65536",
            "board:x",
            "board:٢٢",
            "me\x1b[2J@board",
            "::1",
            "[::1",
            "[board]",
            "[abc]",
        ),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInputError, match="is no address for ssh: use user@host:port"):
        ssh.open_shell(address)


def test_boards_are_not_discovered() -> None:
    assert ssh.discover() == []
