#!/usr/bin/env bash
# Build the device lab: the genuine adbd, and the files of an emulated arm64 board and of an emulated arm64 phone.
#
#   build.sh FOLDER          PYTHON: a python with pip (default python3)
#
# On a fresh Debian bookworm, as root, or by sudo. What is there already is not built again.
# Then, as root, for devices are made of namespaces: HWNAS_DEVICE_LAB=FOLDER pytest tests/devices
set -euo pipefail
if [ "$(id -u)" -ne 0 ]; then
    exec sudo --non-interactive env PYTHON="${PYTHON:-python3}" "$0" "$@"
fi
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)

# step NAME RESULT COMMAND…: run the command where the result is missing, and say what it took.
step() {
    local name=$1 result=$2
    shift 2
    if [ ! -e "$result" ]; then
        "$@"
        echo "$name: $SECONDS s, $(du --summarize --block-size=M "$result" | cut -f1)"
    fi
    SECONDS=0
}

# arm64 programs start by themselves once the kernel knows the emulator; the file is opened now, so it works in a chroot.
emulate_arm64() {
    local table=/proc/sys/fs/binfmt_misc
    if [ ! -e $table/register ]; then
        mount -t binfmt_misc binfmt_misc $table
    fi
    tr --delete '\n' </usr/lib/binfmt.d/qemu-aarch64.conf >$table/register
}

"$here/install.sh"
echo "packages: $SECONDS s"
SECONDS=0
umask 022 # the devices' own users must be able to read what is made here
step adbd "$folder/adbd-secure" "$here/adbd.sh" "$folder"
step emulator /proc/sys/fs/binfmt_misc/qemu-aarch64 emulate_arm64
step board "$folder/board" "$here/board.sh" "$folder"
step phone "$folder/phone" "$here/phone.sh" "$folder"
