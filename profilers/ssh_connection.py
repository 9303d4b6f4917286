"""A connection to an ssh server whose host key is known, or what keeps it from coming about.

Names, users, ports, keys, agents, jump hosts and known hosts come from the user's own ~/.ssh, as for the ssh program.
Nothing is ever asked for: a key (or an agent) opens the door, and a host whose key is not known is not talked to.
"""

import shlex
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from profilers.errors import DeviceError, LostError, UnauthorisedError

if TYPE_CHECKING:
    import asyncssh

CONNECT_S = 10.0
KEEPALIVE_S, KEEPALIVES = 2, 5  # a far end that is silent for their product is lost
KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
KNOWN_TO_ALL = "/etc/ssh/ssh_known_hosts"


async def connect(user: str | None, host: str, port: int | None, name: str) -> "asyncssh.SSHClientConnection":
    """Connect, with what is None left to ~/.ssh/config; `name` is what error texts call the device.

    Raises LostError where the device may yet come, DeviceError where a person has to do something first.
    """
    import asyncssh

    settings: dict[str, Any] = {"username": user, "port": port}
    settings = {key: value for key, value in settings.items() if value is not None} | {
        "connect_timeout": CONNECT_S,
        "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": KEEPALIVES,
        "password_auth": False,
        "kbdint_auth": False,
    }
    try:
        options = asyncssh.SSHClientConnectionOptions(config=(), host=host, **settings)
        # Read here: asyncssh checks nothing after `UserKnownHostsFile none`, and chokes on files that are not there.
        names = cast(Sequence[str], options.known_hosts or KNOWN_HOSTS)
        files = [Path(file).expanduser() for file in (*names, KNOWN_TO_ALL)]
        known = asyncssh.read_known_hosts([str(file) for file in files if file.is_file()])
    except (OSError, ValueError, asyncssh.Error) as error:
        raise DeviceError(f"{name}: your ssh settings cannot be used: {error}: look into ~/.ssh/config") from error
    try:
        return await asyncssh.connect(host, known_hosts=known, **settings)
    except TimeoutError as error:
        raise LostError(f"{name}: no answer for {CONNECT_S:g} s: is it on, and in the network?") from error
    except socket.gaierror as error:
        kind = LostError if error.errno == socket.EAI_AGAIN else DeviceError
        raise kind(f"{name}: no address of {options.host} is known: {error.strerror}: is the name right?") from error
    except OSError as error:
        if isinstance(error, BrokenPipeError) and options.proxy_command:  # it was gone before we spoke
            lost = asyncssh.ConnectionLost(str(error))
            raise _rejection(lost, name, options, known) from error
        raise LostError(f"{name}: no ssh server answers: {error}: is it on, and does sshd run there?") from error
    except asyncssh.Error as error:
        raise _rejection(error, name, options, known) from error


def _rejection(
    error: "asyncssh.Error", name: str, options: "asyncssh.SSHClientConnectionOptions", known: "asyncssh.SSHKnownHosts"
) -> DeviceError:
    """What to say when the far end answered, and no connection came of it."""
    import asyncssh

    host, port = options.host_key_alias or options.host, options.port if options.port != 22 else None
    by_hand = shlex.join([*(["-p", str(port)] if port else []), f"{options.username}@{options.host}"])
    if (options.tunnel or options.proxy_command) and options.host not in str(error):
        kind = LostError if isinstance(error, asyncssh.ConnectionLost) else DeviceError
        return kind(f"{name}: no way through the jump host or proxy: {error}: see what this tells: ssh -v {by_hand}")
    if isinstance(error, asyncssh.ConnectionLost):
        return LostError(
            f"{name}: what answers there ended the connection before any ssh session: {error}: is that an ssh server, "
            "is it just starting, or out of sessions?"
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return UnauthorisedError(f"{name}: {error}: none of your keys opens it; give it one by: ssh-copy-id {by_hand}")
    if isinstance(error, asyncssh.HostKeyNotVerifiable | asyncssh.KeyExchangeFailed):
        if any(known.match(host, "", port)):
            entry = shlex.quote(f"[{host}]:{port}" if port else host)
            return UnauthorisedError(
                f"{name}: another host key than the known one: {error}: if the board was set up anew, "
                f"forget the old key by: ssh-keygen -R {entry}, and connect once by: ssh {by_hand}"
            )
        return UnauthorisedError(f"{name}: its host key is not known yet: {error}: connect once by: ssh {by_hand}")
    return DeviceError(f"{name}: no ssh session came about: {error}: see what this tells: ssh -v {by_hand}")
