"""Android phones and boards, through the `adb` program: `adb://SERIAL`, the serial as `adb devices` shows it.

Each call is one run of the adb client, so there is nothing to keep open; the adb server that the client starts is
shared with every other user of adb and never ended from here. What the client says cannot be taken at its word (seen
with platform-tools 29 and the adbd of the same release): a command whose connection breaks ends with exit code 0 and
half of its output; `adb connect` ends with 0 whatever came of it; a dead link stays a `device`, and the client waits
for it for ever. So a command counts as ended only when its end marker has arrived, and every wait has an end.
"""

import os
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from profilers.errors import DeviceError, InvalidInputError, LostError, UnauthorisedError
from profilers.shells import ANSWER_S, Done, Found
from profilers.shells._bounded import MAX_ANSWER_BYTES, AnswerTooLongError, run_bounded

PATIENCE_S = 3.0  # just plugged in, a phone is offline or unauthorized for a moment, and a fresh server sees nothing
PROBE_S = 3.0  # what answers takes milliseconds
CONNECT_S = 15.0  # adb gives up a network connection after 10 s by itself


def open_shell(address: str) -> "AdbShell":
    """A shell on the device with the serial `address`; raises InvalidInputError for what can be no serial."""
    if not address.strip() or not address.isprintable():
        raise InvalidInputError(f"{address!r} is no serial number: `adb devices` shows those there are")
    return AdbShell(address)


def check_installed() -> None:
    """Raise DeviceError where the adb program is not installed."""
    _program()


def discover() -> list[Found]:
    """What `adb devices` lists; nothing where adb is not installed. Raises DeviceError for one that does not work."""
    return list(found(_devices("-l"))) if _installed() else []


class AdbShell:
    """A shell on the device with one serial number; see Shell for what it promises."""

    folder = "/data/local/tmp/hwnas"

    def __init__(self, serial: str) -> None:
        self._serial = serial
        self._network = re.fullmatch(r".+:\d+", serial) is not None
        self._connected = False

    def run(self, command: Sequence[str], timeout_s: float = ANSWER_S) -> Done:
        """Run a program to its end; see Shell. Devices older than Android 7 mix its stderr into `out`.

        Where the device has `timeout` (Android since 6), a command that outlives its time is killed there too.
        """
        self._connect()
        nonce = secrets.token_hex(8)
        client = self._talk(["shell", script(command, nonce, timeout_s)], timeout_s, f"running {command[0]}")
        done = ended(client, nonce)
        if done is None:
            raise self._broken(f"running {command[0]}")
        return done

    def push(self, files: Iterable[Path], folder: str, timeout_s: float) -> None:
        """Copy files; see Shell. They keep their permissions, and get their names only when all have arrived."""
        sizes = {path.absolute(): path.stat().st_size for path in files}
        names = [f"./{path.name}" for path in sizes]
        part = f".part-{secrets.token_hex(4)}"
        self._prepare(sizes, folder, 'cd "$1" && rm -rf .part-* && mkdir "$2"', part)
        copied = self._talk(["push", *map(str, sizes), f"{folder}/{part}/"], timeout_s, f"copying files to {folder}")
        if copied.returncode:
            why = refused(_text(copied.stderr + copied.stdout))
            if why is None:
                raise self._broken(f"copying files to {folder}")
            self.run(["rm", "-rf", f"{folder}/{part}"])
            raise self._refusal(sizes, folder, why)
        arrived = 'cd "$1/$2" && shift 2 && for f; do wc -c <"$f"; done'
        if self._prepare(sizes, folder, arrived, part, *names).split() != [str(size) for size in sizes.values()]:
            raise self._broken(f"copying files to {folder}")
        self._prepare(sizes, folder, 'cd "$1/$2" && shift 2 && mv -f "$@" .. && rmdir "$PWD"', part, *names)

    def pull(self, path: str, timeout_s: float = ANSWER_S) -> bytes:
        """The content of a file; see Shell. Of a file that grows meanwhile, at least what it held at the start."""
        size = self.run(["sh", "-c", 'wc -c <"$1"', "sh", path])
        if size.code or not size.out.strip().isdecimal():
            why = " ".join((size.err or size.out).split())
            raise DeviceError(f"{self._serial} has no file {path} to give: {why}")
        if int(size.out[:20]) > MAX_ANSWER_BYTES:
            raise AnswerTooLongError(f"{self._serial}: the file {path}")
        with tempfile.TemporaryDirectory(prefix="hwnas-") as folder:
            copy = Path(folder, "file")
            copied = self._talk(["pull", path, str(copy)], timeout_s, f"fetching {path}", written=copy)
            data = copy.read_bytes() if copied.returncode == 0 and copy.is_file() else b""
        if copied.returncode or len(data) < int(size.out):
            raise self._broken(f"fetching {path}")
        return data

    def close(self) -> None:
        """Forget that the device was there; the connection is the adb server's, which others use too."""
        self._connected = False

    def _prepare(self, sizes: Mapping[Path, int], folder: str, script: str, *arguments: str) -> str:
        """Run a script about files that are to lie in a folder, $1; returns what it printed."""
        done = self.run(["sh", "-c", script, "sh", folder, *arguments])
        if done.code:
            raise self._refusal(sizes, folder, " ".join((done.err or done.out).split()))
        return done.out

    def _refusal(self, sizes: Mapping[Path, int], folder: str, why: str) -> DeviceError:
        free = re.search(r"(\d+)\s+\d+%\s", self.run(["df", "-k", folder]).out)
        space = f", {int(free[1]) / 1024:.1f} MiB are free" if free else ""
        needed = f"{sum(sizes.values()) / 2**20:.1f} MiB"
        return DeviceError(
            f"{self._serial} does not take {needed} in {folder}: {why}{space}: make room or mend that there"
        )

    def _talk(
        self, arguments: Sequence[str], timeout_s: float, doing: str, written: Path | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        """Let the client talk to the device, and perhaps write a file; raises LostError when the time is over."""
        try:
            return _adb(["-s", self._serial, *arguments], timeout_s, written)
        except AnswerTooLongError:
            raise AnswerTooLongError(f"{self._serial}: {doing}") from None
        except LostError:
            if self._answers():
                raise LostError(f"{self._serial} was still {doing} after {timeout_s:g} s: allow more time") from None
        # Only a new connection helps: a dead one is kept as it is, and would be for as long as nobody writes to it.
        _adb(["-s", self._serial, "reconnect"], PROBE_S)
        raise self._broken(doing)

    def _answers(self) -> bool:
        """Whether it runs a command, whatever its shell prints before."""
        try:
            return _adb(["-s", self._serial, "shell", "echo yes"], PROBE_S).stdout.rstrip().endswith(b"yes")
        except (LostError, AnswerTooLongError):
            return False

    def _connect(self) -> None:
        """Return once the device is ready; raises what keeps it from being so."""
        if self._connected:
            return
        said, state = "", self._settled()
        if self._network and state != "device":
            if state:  # what is listed counts as connected, and a key is shown only once for each connection
                _adb(["disconnect", self._serial], PROBE_S)
            said = _text(_adb(["connect", self._serial], CONNECT_S).stdout).strip()
            state = self._settled()
        if state != "device":
            now = condition(state)
            raise now.error(now.message(self._serial, state or said))
        self._connected = True

    def _settled(self) -> str:
        """The state once it is what it will be; that of another process's device may be about to change, too."""
        since = time.monotonic()
        while True:
            state = self._state()
            alone = self._network and not state  # nobody but us will connect it
            if state == "device" or alone or time.monotonic() - since > PATIENCE_S:
                return state
            time.sleep(0.2)

    def _state(self) -> str:
        return states(_devices()).get(self._serial, "")

    def _broken(self, doing: str) -> LostError:
        """What to raise for a connection that broke; whether that will last, the next call finds out."""
        self._connected = False
        state = self._state()
        if state == "device":
            return LostError(f"{self._serial} was lost while {doing}: check its cable or network, and try again")
        return LostError(f"{condition(state).message(self._serial, state)} (while {doing})")


@dataclass(frozen=True)
class Condition:
    """What a state that adb shows is called here, and what to do about it."""

    state: str
    advice: str = ""
    error: type[DeviceError] = LostError  # another one where somebody has to act before another try

    def message(self, serial: str, said: str) -> str:
        return f"{serial} is {self.state} (adb: {said or 'not listed'}): {self.advice}"


READY = Condition("ready")
UNAUTHORISED = Condition(
    "unauthorised", "accept this computer's key on its screen (replug it to be asked)", UnauthorisedError
)
FORBIDDEN = Condition("unreachable", "install udev rules for it, join the group plugdev, log in again", DeviceError)
RESTART = Condition("unreachable", "restart it into Android: adb reboot", DeviceError)
OFFLINE = Condition("offline", "replug its cable or restart it")
ABSENT = Condition("unreachable", "is the cable plugged in or the address right, is it on, and USB debugging allowed?")
CONDITIONS = {
    "device": READY,
    "unauthorized": UNAUTHORISED,
    "authorizing": UNAUTHORISED,
    "offline": OFFLINE,
    "connecting": OFFLINE,
    "no permissions": FORBIDDEN,
    **dict.fromkeys(("bootloader", "recovery", "sideload", "rescue"), RESTART),
}


def condition(state: str) -> Condition:
    """What a state that `adb devices` shows means; the empty one is that of a device which it does not show."""
    return next((known for word, known in CONDITIONS.items() if state.startswith(word)), ABSENT)


def states(listing: str) -> dict[str, str]:
    """The states in the text of `adb devices`, by serial number."""
    return dict(line.rsplit("\t", 1) for line in listing.split("\n") if "\t" in line)


def found(listing: str) -> Iterator[Found]:
    """The devices in the text of `adb devices -l`."""
    words = "|".join(CONDITIONS)
    for line in listing.split("\n"):
        # A serial number may hold spaces and even a state's name: the last such word is the state.
        match = re.fullmatch(rf"(?P<serial>.*\S)\s+(?P<state>{words})(?P<facts>[ ;(].*)?", line.rstrip())
        if match is None:
            continue
        now = condition(match["state"])
        model = re.search(r" model:(\S+)", match["facts"] or "")
        address = match["serial"].replace("%", "%25")
        yield Found(f"adb://{address}", now.state, now.advice, model[1] if model else "")


def script(command: Sequence[str], nonce: str, timeout_s: float) -> str:
    """What a device's shell is told: run the command between two lines that say it begins, and that it ended and how.

    What a shell or a linker prints before the first of them is none of the command's. The command is killed on the
    device a little later than given up here, so that what is left behind by a broken connection ends too. The first
    `timeout` tries whether there is one that understands these options.
    """
    limit = f"timeout -s KILL {int(timeout_s) + 2}"
    return (
        f"t=; {limit} true >/dev/null 2>&1 && t='{limit}'; echo; echo {nonce} begins; "
        f"$t {shlex.join(command)} </dev/null; r=$?; echo; echo {nonce} $r"
    )


def ended(client: "subprocess.CompletedProcess[bytes]", nonce: str) -> Done | None:
    """What came of the command that `script` ran; None if it was cut off before its end.

    Devices older than Android 7 run every command on a terminal, which makes CR LF of each LF.
    """
    begin = re.search(rb"(?:\A|\n)%b begins\r?\n" % nonce.encode(), client.stdout)
    rest = client.stdout[begin.end() :] if begin else b""
    end = re.search(rb"\r?\n%b (\d{1,3})(\r?)\n\Z" % nonce.encode(), rest)
    if end is None:
        return None
    out = rest[: end.start()]
    return Done(int(end[1]), _text(out.replace(b"\r\n", b"\n") if end[2] else out), _text(client.stderr))


def refused(said: str) -> str | None:
    """Why the device did not take a file, from what `adb push` says; None if it was the connection that failed."""
    why = re.search(r": remote ([^\n]*)", said)
    return why[1].strip() if why else None


def _devices(*options: str) -> str:
    for _ in range(3):  # of clients that start the server at the same time all but one fail
        client = _adb(["devices", *options], ANSWER_S)
        if client.returncode == 0:
            return _text(client.stdout)
    why = _text(client.stderr).strip().split("\n")[-1]
    raise LostError(f"adb does not work on this computer: {why}: see what `adb devices` says")


def _adb(
    arguments: Sequence[str], timeout_s: float, written: Path | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run the adb client; raises LostError, with the client killed, when the time is over, and AnswerTooLongError."""
    try:
        return run_bounded([_program(), *arguments], timeout_s, written)
    except subprocess.TimeoutExpired:
        raise LostError(f"adb did not answer within {timeout_s:g} s: see whether `adb devices` does") from None
    except OSError as error:
        raise DeviceError(f"adb cannot be started: {error}") from None


def _installed() -> str | None:
    """Where adb is. Nothing else outside of the command line reads the environment: this only finds a program."""
    return shutil.which("adb") or shutil.which("adb", path=os.pathsep.join(map(str, _folders())))


def _program() -> str:
    program = _installed()
    if program is None:
        raise DeviceError("adb is not installed: apt install adb, pip install adbutils, or set ANDROID_HOME")
    return program


def _folders() -> Iterator[Path]:
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        if os.environ.get(name):
            yield Path(os.environ[name], "platform-tools")
    package = find_spec("adbutils")
    if package is not None and package.origin is not None:
        yield Path(package.origin).with_name("binaries")


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
