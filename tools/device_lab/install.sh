#!/usr/bin/env bash
# Install the Debian packages (packages.txt) that the device lab and the tests on it need; as root, or by sudo.
set -euo pipefail
if [ "$(id -u)" -ne 0 ]; then
    exec sudo --non-interactive "$0"
fi
cd "$(dirname "$0")"

mapfile -t packages <packages.txt
installed=$(dpkg-query --show --showformat '${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | grep -c '^installed$' || true)
if [ "$installed" -eq "${#packages[@]}" ]; then
    exit 0
fi
# Run level 1 keeps openssh-server from starting a server now: the lab starts its own, where nobody else can reach it.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}" >/dev/null
