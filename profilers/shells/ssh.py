"""ssh: boards and laptops with an ssh server, named `ssh://[user@]host[:port]`, an IPv6 address in brackets."""

import asyncio
import math
import os
import posixpath
import re
import secrets
import shlex
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from profilers.errors import DeviceError, InvalidInputError, LostError
from profilers.shells import ANSWER_S, Done, Found
from profilers.shells._bounded import MAX_ANSWER_BYTES, AnswerTooLongError
from profilers.ssh_connection import connect

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

CLOSE_S = 2.0  # for the good-bye, which a dead link does not take
FILES_IN_FLIGHT = 8
CHUNK = 1 << 20
PART = b".part"
ADDRESS = re.compile(
    r"(?:([^\s@/-][^\s/]*)@)?(?:\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?)\]|(\w[\w.-]*))(?::([0-9]{1,5}))?"
)

# What the device's `sh` reads from its input, so that the user's login shell there, whichever it is, sees no word of
# ours; it obeys once the last brace has come. What that shell prints before the line {begin} is none of the program's.
# A program must not stay behind when its time is over or the connection
# gone: sshd leaves it alone then, and not every board has `timeout`. So two guards wait, one for the clock and one for
# the end of the input, and the first to see its event kills the process group, which sshd made for this session.
# `exec`, because a program is meant and never a builtin of its name. `kill -9 $!`, because dash 0.5 loses a milder
# signal to a child that it has only just started.
SCRIPT = """{{
printf '\\n%s\\n' {begin}
exec 3<&0 </dev/null
{{ trap 'kill -9 $!; wait; exit' TERM; sleep {seconds} & wait $!; kill -9 0; }} >/dev/null 2>&1 3<&- &
clock=$!
{{ while read -r line; do :; done; kill -9 0; }} <&3 >/dev/null 2>&1 &
end=$!
(exec {words} 3<&-)
code=$?
exec 2>/dev/null
kill $clock $end
wait
exit $code
}}
"""


def open_shell(address: str) -> "SshShell":
    """A shell on the board at `user@host:port`, user and port optional; raises InvalidInputError."""
    found = ADDRESS.fullmatch(address) if address.isprintable() else None
    if not found or not 0 < int(found[4] or 22) < 65536:
        raise InvalidInputError(f"{address!r} is no address for ssh: use user@host:port, an IPv6 host in brackets")
    return SshShell(found[1], found[2] or found[3], int(found[4]) if found[4] else None)


def check_installed() -> None:
    """Raise DeviceError where asyncssh is not installed."""
    try:
        import asyncssh  # noqa: F401  # only to see that it is there
    except ImportError as error:
        raise DeviceError("ssh needs asyncssh: pip install 'hwnas[devices]'") from error


def discover() -> list[Found]:
    """Always empty: boards do not announce themselves."""
    return []


class SshShell:
    """A Shell over one ssh connection, which lives in a thread of its own until `close`."""

    folder = ".cache/hwnas"  # in the home folder, where commands start

    def __init__(self, user: str | None, host: str, port: int | None) -> None:
        self._user, self._host, self._port = user, host, port
        self._background: _Background | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    def __str__(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return (f"{self._user}@" if self._user else "") + host + (f":{self._port}" if self._port else "")

    def run(self, command: Sequence[str], timeout_s: float = ANSWER_S) -> Done:
        return self._call(lambda: self._run(command, timeout_s), timeout_s, f"{command[0]} ran")

    def push(self, files: Iterable[Path], folder: str, timeout_s: float) -> None:
        self._call(lambda: self._push(list(files), folder), timeout_s, f"files were copied to {folder}")

    def pull(self, path: str, timeout_s: float = ANSWER_S) -> bytes:
        return self._call(lambda: self._pull(path), timeout_s, f"{path} was read")

    def close(self) -> None:
        background, self._background = self._background, None
        if background:
            try:
                background.call(self._hang_up())
            finally:
                background.end()

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float, doing: str) -> T:
        check_installed()
        self._background = self._background or _Background(f"ssh {self}")
        return self._background.call(self._within(work, timeout_s, doing))

    async def _within(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float, doing: str) -> T:
        """What `work` returns, once connected; a loss, the end of the time or Ctrl-C end the connection too."""
        import asyncssh

        connection = await self._connected()
        task = asyncio.create_task(work())
        try:
            if not (await asyncio.wait({task}, timeout=timeout_s))[0]:
                raise LostError(f"{self}: no answer for {timeout_s:g} s while {doing}: is it busy, or out of reach?")
            return task.result()
        except (asyncssh.Error, OSError) as error:
            if isinstance(error, asyncssh.ChannelOpenError) and not connection.is_closed():
                raise DeviceError(f"{self}: the ssh server allows no more sessions: {error}: see its log") from error
            await self._drop(task)
            raise LostError(f"{self}: the connection broke while {doing}: {error}: is it on and in reach?") from error
        except BaseException as error:
            if isinstance(error, LostError) or not isinstance(error, DeviceError):
                await self._drop(task)
            raise

    async def _connected(self) -> "asyncssh.SSHClientConnection":
        if not self._connection or self._connection.is_closed():
            self._sftp = None
            self._connection = await connect(self._user, self._host, self._port, str(self))
        return self._connection

    async def _drop(self, task: "asyncio.Task[Any]") -> None:
        """Connection first: cancelled work tidies up by asking the device, which would never answer."""
        connection, self._connection = self._connection, None
        if connection:
            connection.abort()
        task.cancel()
        await asyncio.wait({task})

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.close()
            try:
                await asyncio.wait_for(connection.wait_closed(), CLOSE_S)
            except TimeoutError:
                connection.abort()

    async def _run(self, command: Sequence[str], timeout_s: float) -> Done:
        begin = f"begin-{secrets.token_hex(8)}"
        script = SCRIPT.format(begin=begin, words=shlex.join(command), seconds=math.ceil(timeout_s))
        connection = await self._connected()
        process = await connection.create_process("sh", encoding=None, request_pty=False)
        try:
            process.stdin.write(os.fsencode(script))
            out, err = await asyncio.gather(
                *(_read(stream, f"{self}: {command[0]}") for stream in (process.stdout, process.stderr))
            )
            await process.wait_closed()
        finally:
            process.close()  # which ends the program, too, where its answer is not wanted any more
        if process.returncode is None:  # asyncssh 2.24: a lost link ends a process without exception
            raise LostError(f"{self}: the connection broke while {command[0]} ran: is it on and in reach?")
        _, started, out = out.partition(f"\n{begin}\n".encode())
        if not started:
            raise DeviceError(
                f"{self}: its login shell does not start sh, but ended with code {process.returncode}: "
                f"{' '.join(_text(_ or err).split())[:200] or 'without a word'}: try ssh by hand"
            )
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode  # as shells tell of signals
        return Done(code, _text(out), _text(err))

    async def _push(self, files: Sequence[Path], folder: str) -> None:
        import asyncssh

        sftp = await self._files()
        try:
            async with asyncio.TaskGroup() as group:
                gate = asyncio.Semaphore(FILES_IN_FLIGHT)
                for path in files:
                    group.create_task(_put(sftp, path, _remote(folder, path), gate))
        except ExceptionGroup as failures:
            error = failures.exceptions[0]
            if not isinstance(error, asyncssh.SFTPError) or _is_loss(error):
                raise error from None  # as it is, not as one of a group
            for path in files:
                with suppress(asyncssh.SFTPError):
                    await sftp.remove(_remote(folder, path) + PART)
            raise DeviceError(f"{self}: {await _why_refused(sftp, error, files, folder)}") from error

    async def _pull(self, path: str) -> bytes:
        import asyncssh

        sftp = await self._files()
        try:
            async with sftp.open(os.fsencode(path), "rb") as file:
                # To the end, whatever the size: files of the kernel say that theirs is 0.
                return await _read(file, f"{self}: the file {path}")
        except asyncssh.SFTPError as error:
            if _is_loss(error):
                raise
            raise DeviceError(f"{self}: {path} cannot be read there: {error.reason}") from error

    async def _files(self) -> "asyncssh.SFTPClient":
        import asyncssh

        if not self._sftp:
            connection = await self._connected()
            try:
                self._sftp = await connection.start_sftp_client()
            except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
                if connection.is_closed():
                    raise
                raise DeviceError(
                    f"{self}: files cannot be copied, its ssh server does not speak sftp: {error}: install "
                    "openssh-sftp-server there and name it in sshd_config (Subsystem sftp …); if it is there, see that "
                    "~/.bashrc or the like prints nothing to sessions without a terminal"
                ) from error
        return self._sftp


async def _read(source: Any, what: str) -> bytes:
    """All that a stream or a file gives; raises AnswerTooLongError for `what` gives more than any answer takes."""
    content = bytearray()
    while chunk := cast(bytes, await source.read(CHUNK)):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise AnswerTooLongError(what)
    return bytes(content)


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def _remote(folder: str, path: Path) -> bytes:
    return os.fsencode(posixpath.join(folder, path.name))


def _is_loss(error: Exception) -> bool:
    import asyncssh

    return isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection)


async def _put(sftp: "asyncssh.SFTPClient", path: Path, target: bytes, gate: asyncio.Semaphore) -> None:
    """Under another name first, so that a broken push leaves no half file that looks whole."""
    async with gate:
        try:
            await sftp.put(os.fsencode(path), target + PART, preserve=True)  # programs stay executable
        except OSError as error:
            if error.filename:  # the local file's; errors of the connection have none
                raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
            raise
        await sftp.posix_rename(target + PART, target)


async def _why_refused(
    sftp: "asyncssh.SFTPClient", error: "asyncssh.SFTPError", files: Sequence[Path], folder: str
) -> str:
    """What to say of files that the device did not take; OpenSSH calls a full disk just `Failure`."""
    import asyncssh

    if isinstance(error, asyncssh.SFTPNoSuchFile):
        return f"there is no folder {folder} there, or it cannot be entered: {error.reason}: make it"
    if isinstance(error, asyncssh.SFTPPermissionDenied):
        return f"files may not be written to {folder} there: {error.reason}: give the user of the address this right"
    need = sum(path.stat().st_size for path in files) / 1e6
    room = ""
    with suppress(asyncssh.SFTPError):
        disk = await sftp.statvfs(os.fsencode(folder))
        room = f" ({disk.bavail * disk.frsize / 1e6:.1f} MB are free there, {need:.1f} MB were to be written)"
    return f"files cannot be written to {folder}{room}: {error.reason}: make room there, or look for what hinders"


class _Background:
    """An event loop in a thread of its own, for calls from outside."""

    def __init__(self, name: str) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop, self._over = self._runner.get_loop(), asyncio.Event()
        self._loop.set_exception_handler(_report)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        with self._runner:  # in the end cancels what is left
            self._runner.run(self._wait())

    async def _wait(self) -> None:
        await self._over.wait()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns; Ctrl-C while waiting for it cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncssh 2.24 forgets parts of a copy when its connection goes: what became of them is no news."""
    import asyncssh

    if not isinstance(context.get("exception"), asyncssh.Error | OSError):
        loop.default_exception_handler(context)
