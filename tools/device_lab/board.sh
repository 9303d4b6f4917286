#!/usr/bin/env bash
# Make the files of an arm64 Debian board with sshd, Python, numpy and onnxruntime, as FOLDER/board.
#
#   board.sh FOLDER          PYTHON: a python with pip (default python3)
#
# No arm64 program runs while it is made: packages are unpacked, not configured, which takes seconds, not minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
new=$folder/board.new
rm -rf "$new"

packages=bash,busybox-static,coreutils,dash,findutils,grep,libc6,libgcc-s1,libpython3.11-minimal,libpython3.11-stdlib
packages+=,libstdc++6,mawk,openssh-server,openssh-sftp-server,procps,python3.11-minimal,sed,util-linux
mmdebstrap --quiet --arch=arm64 --variant=extract --skip=check/qemu --include="$packages" \
    bookworm "$new" "$("$here/mirror.sh")"

# What the packages' own scripts would have done.
ln -sf dash "$new/bin/sh"
ln -sf mawk "$new/usr/bin/awk"
ln -sf python3.11 "$new/usr/bin/python3"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$new/etc/group"
touch "$new/etc/passwd" "$new/etc/shadow"
mkdir -p "$new/etc/ssh"
rm -rf "$new"/usr/share/{doc,info,locale,man} "$new/boot" "$new/var/cache"

# Without what only onnxruntime's own tools need; the versions are those that the project's tests run with.
"${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform manylinux_2_28_aarch64 --python-version 3.11 --constraint "$here/../../constraints.txt" \
    --target "$new/usr/lib/python3/dist-packages" numpy onnxruntime
rm -rf "$folder/board"
mv "$new" "$folder/board"
