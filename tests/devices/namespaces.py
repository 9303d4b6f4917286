"""Machines made of namespaces: a network whose link can be cut, and devices with processes and files of their own.

Namespaces belong to processes that die with the one that made them, and mounts and links die with their namespaces:
even after a kill -9 nothing is left but an adb server, where a client has started one. Needs root.
"""

import ctypes
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

ADDRESS = "10.77.0.2"  # of the device; the host's side of the link is 10.77.0.1
READY_S = 20.0  # how long a daemon may take to listen; an emulated sshd takes 1 s on an idle machine
CLONE_NEWNET = 0x40000000  # linux/sched.h
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
SLEEP = ["/bin/sleep", "2147483647"]
EMULATORS = "/usr/libexec/qemu-binfmt/"
NODES = ("null", "zero", "full", "random", "urandom", "tty")


class Network:
    """A host with a home of its own and a device, joined by a link that can be cut; the test enters the host's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._sides: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            for _ in range(2):
                self._sides.append(subprocess.Popen([*DIES_WITH_US, "unshare", "--net", *SLEEP]))
                _sleeper(self._sides[-1])
            peer = ["peer", "name", "dev0", "netns", str(self.device_pid)]
            self._ip(0, "link", "add", "host0", "type", "veth", *peer)
            for side, interface in enumerate(("host0", "dev0")):
                self._ip(side, "address", "add", f"10.77.0.{side + 1}/24", "dev", interface)
                self._ip(side, "link", "set", "lo", "up")
                self._ip(side, "link", "set", interface, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for side in self._sides:
            kill(pid for pid in processes_in("net", side.pid) if pid != os.getpid())
            side.wait()

    @property
    def env(self) -> dict[str, str]:
        """What makes adb, asyncssh and hwnas use the files of this host, and an adb server of its own."""
        home = str(self.home)
        return {"HOME": home, "ANDROID_SDK_HOME": home, "ADB_VENDOR_KEYS": "", "ANDROID_ADB_SERVER_PORT": "5137"}

    @property
    def device_pid(self) -> int:
        """A process on the device's side, for `nsenter --target PID --net`."""
        return self._sides[1].pid

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Put the calling thread, and threads and processes it starts meanwhile, on the host's side of the link."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as outside,
            Path(f"/proc/{self._sides[0].pid}/ns/net").open("rb") as inside,
        ):
            _move_to(inside.fileno())
            try:
                yield
            finally:
                _move_to(outside.fileno())

    def run(self, *command: str, timeout_s: float = READY_S) -> subprocess.CompletedProcess[str]:
        """Run a program on the host's side; raises subprocess.TimeoutExpired."""
        enter = ["nsenter", f"--target={self._sides[0].pid}", "--net", *command]
        env = os.environ | self.env
        return subprocess.run(enter, input="", capture_output=True, text=True, timeout=timeout_s, env=env, check=False)

    def down(self) -> None:
        """Cut the link: nothing arrives any more, and neither side is told."""
        self._ip(1, "link", "set", "dev0", "down")

    def up(self) -> None:
        """Join the link again; addresses are as they were."""
        self._ip(1, "link", "set", "dev0", "up")

    def _ip(self, side: int, *arguments: str) -> None:
        enter = ["nsenter", f"--target={self._sides[side].pid}", "--net"]
        subprocess.run([*enter, "ip", *arguments], check=True, timeout=READY_S)


class Device:
    """A machine on the device's side of a network: processes and files of its own, and a daemon that lets the host in.

    `mounts` are shell commands that put what it has under `root`; `disk` is a folder in memory that can be written to.
    """

    def __init__(self, network: Network, name: str, disk: str) -> None:
        self.network, self.env, self.disk = network, network.env, disk
        self.folder = network.folder / name
        self.root = self.folder / "root"
        self.sys = self.folder / "sys"  # what the device shows as /sys: empty, for tests to fill
        self.log = self.folder / "daemon.log"
        self._daemons: list[subprocess.Popen[bytes]] = []
        for folder in (self.root, self.sys):
            folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        script = "\n".join([*self.mounts(), *_kernel_mounts(self.root, self.sys)])
        # Orphans vanish, as a real first process sees to it; dash would not ignore the signal, whatever it is told.
        script += f"\nexec env --ignore-signal=CHLD chroot {quoted(self.root)} {shlex.join(SLEEP)}"
        enter = ["nsenter", f"--target={self.network.device_pid}", "--net"]
        own = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
        self._machine = subprocess.Popen([*DIES_WITH_US, *enter, *own, "sh", "-ec", script], stdin=subprocess.DEVNULL)
        try:
            self._init = _sleeper(self._machine)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def mounts(self) -> list[str]:
        """Commands that make the device's files."""
        raise NotImplementedError

    def is_daemon(self, arguments: list[str]) -> bool:
        """Whether a process with these arguments is the daemon, or serves a connection for it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the daemon, and wait until it listens."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill the daemon with signal 9; what it started goes on."""

        def gone() -> bool:  # sshd may be starting another process for a connection at this moment
            pids = [pid for pid in self._pids() if self.is_daemon(arguments_of(pid))]
            kill(pids)
            return not pids

        wait_until(gone, "the daemon does not die")
        while self._daemons:
            self._daemons.pop().wait(READY_S)

    def stop(self) -> None:
        """Switch the device off for good: all that runs on it ends, and its disk is lost."""
        self._machine.kill()
        self._machine.wait()
        while self._daemons:
            self._daemons.pop().wait(READY_S)

    def processes(self) -> list[str]:
        """The command lines of all that runs on the device, but for its first process and the daemon."""
        commands = [arguments_of(pid) for pid in self._pids()]
        return sorted(" ".join(command) for command in commands if command and not self.is_daemon(command))

    def path(self, on_device: str) -> Path:
        """How a file of the device is reached from outside, by its absolute path on the device."""
        return Path(f"/proc/{self._init}/root{on_device}")

    def fill(self, leave: int = 0) -> None:
        """Use up the device's disk but for so many bytes."""
        state = os.statvfs(self.path(self.disk))
        with (self.path(self.disk) / ".filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, max(1, state.f_bavail * state.f_frsize - leave))

    def free(self) -> None:
        """Give back what `fill` used up."""
        (self.path(self.disk) / ".filler").unlink()

    def _pids(self) -> list[int]:
        return [pid for pid in processes_in("pid", self._init) if pid != self._init]

    def _spawn(self, command: list[str], port: int, env: dict[str, str], user: int = 0) -> None:
        """Run a daemon on the device, and wait until something listens on the port there."""
        enter = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--net", "--root", "--wd"]
        enter += [f"--setgid={user}", f"--setuid={user}"]
        with self.log.open("ab") as log:
            daemon = subprocess.Popen([*enter, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        self._daemons.append(daemon)
        wait_until(lambda: _listens(self._init, port), f"nothing listens on port {port}: see {self.log}")


def allowed() -> bool:
    """Whether this process may make namespaces."""
    if os.geteuid() != 0:
        return False
    attempt = ["unshare", "--net", "--mount", "--pid", "--fork", "true"]
    return subprocess.run(attempt, capture_output=True, timeout=READY_S, check=False).returncode == 0


def wait_until(fact: Callable[[], bool], otherwise: str, timeout_s: float = READY_S) -> None:
    """Return as soon as a fact holds; raises AssertionError with the text where it never does."""
    end = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)


def quoted(path: Path | str) -> str:
    """A path as a shell reads it."""
    return shlex.quote(str(path))


def read_only(source: Path | str, target: Path) -> list[str]:
    """Commands that show a folder or file of this machine at another place that exists, not to be written to."""
    return [f"mount --bind {quoted(source)} {quoted(target)}", f"mount -o remount,bind,ro {quoted(target)}"]


def memory(target: Path, size_mb: int = 64, mode: str = "0755") -> list[str]:
    """Commands that put an empty folder in memory at a place that exists."""
    return [f"mount -t tmpfs -o size={size_mb}m,mode={mode} tmpfs {quoted(target)}"]


def processes_in(kind: str, pid: int) -> list[int]:
    """All processes in the namespace of that kind that process `pid` is in; none where that has ended."""
    found: list[int] = []
    try:
        namespace = Path(f"/proc/{pid}/ns/{kind}").stat().st_ino
    except FileNotFoundError:
        return found
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if (entry / "ns" / kind).stat().st_ino == namespace:
                found.append(int(entry.name))
    return found


def arguments_of(pid: int) -> list[str]:
    """A process's command line, without the emulator's own words; empty where it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
    except OSError:
        return []
    if words[0].startswith(EMULATORS):
        words = words[2:]  # the emulator and the program's path stand before the arguments
    return [word for word in words if word]


def kill(pids: Iterable[int]) -> None:
    """Kill processes with signal 9."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _sleeper(process: subprocess.Popen[bytes]) -> int:
    """The process, or its only child, that keeps the namespaces which it has made; back when it does nothing else."""

    def found() -> list[int]:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [pid for pid in (process.pid, *map(int, children)) if arguments_of(pid) == SLEEP]

    wait_until(lambda: process.poll() is not None or bool(found()), "namespaces are not made in time")
    assert process.poll() is None, "no namespaces could be made, or not filled: see standard error"
    return found()[0]


def _move_to(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, CLONE_NEWNET) != 0:  # os.setns came with Python 3.12
        raise OSError(ctypes.get_errno(), "this thread cannot be put into the network namespace")


def _listens(pid: int, port: int) -> bool:
    """Whether a server listens on a port in the network that a process is in."""
    tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def _kernel_mounts(root: Path, sys_folder: Path) -> list[str]:
    """What a kernel shows on every machine: processes, terminals, and some devices that are no hardware."""
    at = quoted(root)
    return [
        f"mount -t proc proc {at}/proc",
        f"mount --bind {quoted(sys_folder)} {at}/sys",
        *memory(root / "dev"),
        *(f"touch {at}/dev/{node}; mount --bind /dev/{node} {at}/dev/{node}" for node in NODES),
        f"mkdir {at}/dev/pts {at}/dev/shm",
        f"mount -t devpts -o newinstance,ptmxmode=0666 devpts {at}/dev/pts",
        f"ln -s pts/ptmx {at}/dev/ptmx",
        f"ln -s /proc/self/fd {at}/dev/fd",
        f"mount -t tmpfs -o mode=1777 tmpfs {at}/dev/shm",
    ]
