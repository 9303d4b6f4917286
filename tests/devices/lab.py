"""The device lab: the genuine adbd and sshd on machines made of namespaces, to be broken in every way devices break.

    with Network(folder) as network, Board(network) as board, network.enter():
        board.ssh("uname -m")         # adb, asyncssh and hwnas reach it too, from this thread and what it starts
        network.down()

A device's programs are this machine's own ("native"), or emulated arm64 ones ("arm64") that tools/device_lab/build.sh
has put into the folder HWNAS_DEVICE_LAB.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from .namespaces import ADDRESS, Device, Network, allowed, memory, quoted, read_only

__all__ = ["Board", "Network", "Phone", "missing"]

Userland = Literal["native", "arm64"]

ADB_PORT, SSH_PORT = 5555, 2222
SHELL_USER = 2000  # whom adbd and what it starts run as on a phone that was not rooted
CPU = {"QEMU_CPU": "cortex-a76"}  # a Raspberry Pi 5's: what is measured must not depend on what qemu can do best


def missing(userland: Userland = "native", adb: bool = False) -> str:
    """Why a board, or with `adb` a phone, cannot be had here, for pytest.skip; empty where it can."""
    programs = ["ip", "nsenter", "setpriv", "unshare", *(["adb"] if adb else ["ssh", "sshd", "ssh-keygen"])]
    absent = [program for program in programs if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"{', '.join(absent)} not installed: tools/device_lab/install.sh installs all that is needed"
    if not allowed():
        return "devices are made of namespaces, which needs root, in a container also the right to make them"
    if (adb or userland == "arm64") and not (_lab() / "phone").is_dir():
        return "HWNAS_DEVICE_LAB names no folder that tools/device_lab/build.sh has filled"
    if userland == "arm64" and not Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        return "the kernel does not know the arm64 emulator: tools/device_lab/build.sh tells it"
    return ""


class Phone(Device):
    """A phone that the genuine adbd answers for: no /tmp, and all that is writable is /data, on a disk of `disk_mb`.

    With `secure` it demands a key that its owner has accepted.
    """

    serial = f"{ADDRESS}:{ADB_PORT}"

    def __init__(
        self, network: Network, userland: Userland = "native", secure: bool = False, disk_mb: int = 256
    ) -> None:
        super().__init__(network, "phone", disk="/data")
        self.userland, self.secure, self.disk_mb = userland, secure, disk_mb

    @property
    def tmp(self) -> Path:
        """/data/local/tmp, from outside."""
        return self.path("/data/local/tmp")

    def mounts(self) -> list[str]:
        root, data = self.root, quoted(self.root / "data")
        if self.userland == "arm64":
            files = read_only(_lab() / "phone", root)
        else:
            at = quoted(root)
            files = [*_native(root), f"mkdir {at}/adbd {at}/data {at}/system; ln -s ../bin {at}/system/bin"]
            files += read_only(_lab() / "phone/adbd", root / "adbd")
        return [
            *files,
            *memory(root / "data", self.disk_mb),
            f"mkdir -p {data}/local/tmp {data}/misc/adb; touch {data}/misc/adb/adb_keys",
            f"chown {SHELL_USER}:{SHELL_USER} {data}/local/tmp; chmod 0771 {data}/local/tmp",
        ]

    def start(self) -> None:
        loader = next((_lab() / "phone/adbd").glob("ld-linux*")).name
        daemon = [f"/adbd/{loader}", "--library-path", "/adbd", "/adbd/adbd-secure" if self.secure else "/adbd/adbd"]
        env = {"PATH": "/system/bin:/usr/bin", "ANDROID_DATA": "/data", "ADBD_PORT": str(ADB_PORT), **CPU}
        self._spawn(daemon, ADB_PORT, env, SHELL_USER)

    def is_daemon(self, arguments: list[str]) -> bool:
        return any(word in ("/adbd/adbd", "/adbd/adbd-secure") for word in arguments[:4])

    def adb(self, *arguments: str, timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Run the adb client on the host's side; raises subprocess.TimeoutExpired."""
        return self.network.run("adb", *arguments, timeout_s=timeout_s)

    def authorise(self) -> None:
        """Accept the host's key, as the owner does on the screen; it counts from the next connection on."""
        key = self.network.home / ".android/adbkey.pub"
        if not key.exists():
            self.adb("start-server")
        shutil.copyfile(key, self.path("/data/misc/adb/adb_keys"))

    def revoke(self) -> None:
        """Forget all keys that were accepted; it counts from the next connection on."""
        self.path("/data/misc/adb/adb_keys").write_bytes(b"")


class Board(Device):
    """A board that the genuine sshd answers for, with root's key; its home /home is a disk of `disk_mb`."""

    host = f"[{ADDRESS}]:{SSH_PORT}"  # as known_hosts has it
    address = f"ssh://root@{ADDRESS}:{SSH_PORT}"

    def __init__(self, network: Network, userland: Userland = "native", disk_mb: int = 256) -> None:
        super().__init__(network, "board", disk="/home")
        self.userland, self.disk_mb = userland, disk_mb
        self.etc = self.folder / "etc"  # /etc/ssh of the device
        self.etc.mkdir(exist_ok=True)
        self.client = network.home / ".ssh"  # config, id and known_hosts of the host
        self.client.mkdir(exist_ok=True, mode=0o700)
        self._configure()

    @property
    def home(self) -> Path:
        """/home, where commands start, from outside."""
        return self.path("/home")

    def mounts(self) -> list[str]:
        root, at = self.root, quoted(self.root)
        native = self.userland == "native"
        files = [*_native(root), f"mkdir {at}/home {at}/run {at}/tmp"] if native else read_only(_lab() / "board", root)
        for name, lines in ACCOUNTS.items():
            (self.folder / name).write_text(lines)
            files += read_only(self.folder / name, root / "etc" / name)
        return [
            *files,
            *read_only(self.etc, root / "etc/ssh"),
            *memory(root / "home", self.disk_mb),
            *memory(root / "run"),
            *memory(root / "tmp", mode="1777"),
            f"mkdir {at}/run/sshd",
            *(_python(root) if native else []),
        ]

    def start(self) -> None:
        self._spawn(["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/config"], SSH_PORT, {"PATH": "/usr/bin:/bin", **CPU})

    def is_daemon(self, arguments: list[str]) -> bool:
        return " ".join(arguments).startswith(("/usr/sbin/sshd", "sshd:", "/usr/lib/openssh/sftp-server"))

    def ssh(self, command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command line on the device with the ssh program; raises subprocess.TimeoutExpired."""
        config = ["-F", str(self.client / "config"), "-o", "BatchMode=yes", "-p", str(SSH_PORT)]
        return self.network.run("ssh", *config, f"root@{ADDRESS}", command, timeout_s=timeout_s)

    def change_host_key(self) -> None:
        """Give the device another host key, as an image written anew to its card does, and start sshd again."""
        _make_key(self.etc / "host_key")
        self.kill()
        self.start()

    def _configure(self) -> None:
        """Keys of both sides, each known to the other, and what sshd and the clients read."""
        _make_key(self.etc / "host_key")
        _make_key(self.client / "id")
        shutil.copyfile(self.client / "id.pub", self.etc / "authorized_keys")
        kind, key, *_ = (self.etc / "host_key.pub").read_text().split()
        (self.client / "known_hosts").write_text(f"{self.host} {kind} {key}\n")
        (self.client / "config").write_text(
            f"Host {ADDRESS}\n  IdentityFile {self.client}/id\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.client}/known_hosts\n"
        )
        cpu = "".join(f"SetEnv {name}={value}\n" for name, value in CPU.items())
        (self.etc / "config").write_text(SSHD_CONFIG + cpu)


ACCOUNTS = {
    "passwd": "root:x:0:0:root:/home:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n",
    "shadow": "root:*:19000::::::\n",
}
SSHD_CONFIG = f"""\
Port {SSH_PORT}
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
Subsystem sftp /usr/lib/openssh/sftp-server
"""


def _lab() -> Path:
    return Path(os.environ.get("HWNAS_DEVICE_LAB", "/nonexistent"))


def _make_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def _native(root: Path) -> list[str]:
    """Commands that show this machine's programs and make all else empty."""
    at = quoted(root)
    commands = [*memory(root), f"mkdir {at}/dev {at}/proc {at}/sys"]
    for path in [Path("/usr"), Path("/etc"), *sorted(Path("/").glob("*bin")), *sorted(Path("/").glob("lib*"))]:
        if path.is_symlink():
            commands.append(f"ln -s {quoted(path.readlink())} {at}{path}")
        else:
            commands += [f"mkdir {at}{path}", *read_only(path, root / path.relative_to("/"))]
    return commands


def _python(root: Path) -> list[str]:
    """Commands that show the Python that runs now, with its packages, at its place."""
    commands: list[str] = []
    for prefix in sorted({Path(sys.base_prefix), Path(sys.prefix)}):
        if not prefix.is_relative_to("/usr"):
            there = root / prefix.relative_to("/")
            commands += [f"mkdir -p {quoted(there)}", *read_only(prefix, there)]
    return commands
