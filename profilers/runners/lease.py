"""A device is measured by one hwnas at a time: a lock on the device says by whom, and shows that the holder lives.

The lock is a folder, because making one is atomic everywhere. Its holder writes a new number into it with every look
at the device; clocks are not compared, since those of devices jump. A lock whose number stands still, or whose holder
is a process of this machine that has ended, was left behind: whatever it started is ended and its files are removed.
Another process of this machine that runs is believed to hold it, however long it is silent.
"""

import os
import platform
import time

from profilers.errors import DeviceError
from profilers.shells import Done, Shell

STALE_S = 180.0  # a holder that was not heard of for this long is gone; it may be writing models or pushing them
LOOK_S = 1.0

_TAKEN, _LOST = 91, 92  # exit codes of the scripts below

# Constant scripts: everything particular comes in as $1, $2, ….
_TAKE = f"""
mkdir -p "$1" || exit 90
mkdir "$1/lock" 2>/dev/null || {{ [ -d "$1/lock" ] && exit {_TAKEN}; mkdir "$1/lock" || exit 90; }}
printf '%s\\n' "$2" >"$1/lock/owner" || {{ rm -rf "$1/lock"; exit 90; }}
"""
_LOOK = 'cat "$1/lock/owner" "$1/lock/beat" 2>/dev/null; [ -d "$1/lock" ]'
_BEAT = f"""
read -r token rest <"$1/lock/owner" && [ "$token" = "$2" ] || exit {_LOST}
printf '%s\\n' "$3" >"$1/lock/beat"
"""
# Ends the runners that write to such folders. A process id is used again by others: only one whose command line holds
# the folder's token is ours.
_KILL = """
for file in "$1"/run-$2/*/pid; do
  [ -f "$file" ] || continue
  token=${file#"$1"/run-}
  token=${token%%/*}
  pid=$(cat "$file")
  case "$(tr '\\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null)" in *"$token"*) kill -9 "$pid" ;; esac
done
rm -rf "$1"/run-$2
"""
_GIVE_BACK = 'read -r token rest <"$1/lock/owner" && [ "$token" = "$2" ] && rm -rf "$1/lock"'
# Goes on only while it is still the lock that was looked at: another one may have been faster, and hold the device
# now. One cleans up at a time; who died of it is not waited for twice.
_STILL = """
[ -d "$1/lock" ] || exit 0
mkdir "$1/lock/cleaning" 2>/dev/null || sleep 2
[ -d "$1/lock" ] && [ "$(cat "$1/lock/owner" "$1/lock/beat" 2>/dev/null)" = "$3" ] || {
  rmdir "$1/lock/cleaning" 2>/dev/null
  exit 0
}
"""

_held = set[str]()  # the tokens of this process's own leases


class Lease:
    """The right to use a device's folder, from `take` to `release`; `token` names it."""

    def __init__(self, shell: Shell, token: str) -> None:
        self._shell, self.token = shell, token
        self._beats = 0

    def take(self) -> None:
        """Take the device; raises DeviceError where another hwnas that lives has it, or the folder cannot be made."""
        owner = f"{self.token} {_node()} {os.getpid()}"
        _held.add(self.token)
        for _ in range(3):  # somebody else may be faster at taking what was left behind
            done = self._script(_TAKE, owner)
            if done.code == 0:
                return
            if done.code != _TAKEN:
                why = " ".join(done.err.split()) or "no reason given"
                raise DeviceError(f"{self._shell.folder} on the device cannot be written: {why}; free some space there")
            holder = self._look()
            if holder and holder.startswith(self.token):  # taken by the call before, whose answer was lost
                return
            if holder is None or self._lives(holder):
                continue
            self._script(_STILL + _KILL + 'rm -rf "$1/lock"', "*", holder.rstrip("\n"))
        raise DeviceError("the device is being taken by several hwnas at once: start one after the other")

    def beat(self) -> None:
        """Show that the holder lives; raises DeviceError where another one has taken the device over."""
        self._beats += 1
        if self._script(_BEAT, self.token, str(self._beats)).code == _LOST:
            raise DeviceError(
                "another hwnas took the device over while it could not be reached from here; what was measured is "
                "kept, the same command goes on"
            )

    def release(self) -> None:
        """End what this holder started, remove its files and give the device back."""
        _held.discard(self.token)  # first: what cannot be given back now, this process may take over later
        self._script(_KILL + _GIVE_BACK, self.token)

    def _look(self) -> str | None:
        done = self._script(_LOOK)
        return done.out if done.code == 0 else None

    def _lives(self, holder: str) -> bool:
        """Whether the lock was given back meanwhile; raises DeviceError, naming the holder, where that lives."""
        token, node, pid, *_ = [*holder.split(), "?", "?", "?"]
        in_use = f"the device is in use by the hwnas on {node} (process {pid}): wait until that has ended"
        if node == _node() and pid.isdecimal():
            if token in _held if int(pid) == os.getpid() else _runs(int(pid)):
                raise DeviceError(f"{in_use}; if it is no hwnas, remove {self._shell.folder}/lock on the device")
            return False
        waited_until = time.monotonic() + STALE_S
        while time.monotonic() < waited_until:
            time.sleep(LOOK_S)
            now = self._look()
            if now is None:
                return True  # it has just ended
            if now != holder:
                raise DeviceError(in_use)
        return False

    def _script(self, script: str, *words: str) -> Done:
        return self._shell.run(["sh", "-c", script, "sh", self._shell.folder, *words])


def _node() -> str:
    return platform.node().replace(" ", "-") or "unknown"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, and belongs to somebody else
        pass
    return True
