#!/usr/bin/env bash
# Build adbd and adbd-secure into FOLDER from Debian's source package of `adb`; takes a minute and 0.5 GB while it runs.
#
#   adbd.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
work=$folder/build
mkdir -p "$work/lists/partial"

# Lists of sources of our own: the machine's package configuration stays as it is.
echo "deb-src $("$here/mirror.sh") bookworm main" >"$work/sources.list"
apt() {
    apt-get --quiet=2 -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Sandbox::User=root "$@"
}
cd "$work"
apt update
apt source --download-only adb >/dev/null
rm -rf source
dpkg-source --no-check --extract android-platform-tools_*.dsc source >unpack.log 2>&1
make --quiet --jobs "$(nproc)" --file "$here/adbd.mk" SOURCE=source OUT=made
strip made/adbd made/adbd-secure
mv made/adbd made/adbd-secure "$folder/"
rm -rf "$work"
