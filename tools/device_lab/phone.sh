#!/usr/bin/env bash
# Make the files of an arm64 phone as FOLDER/phone, from FOLDER/board and FOLDER/adbd: an Android-like userland without
# glibc, whose only arm64 program is a static busybox with the names that Android's toybox has.
#
#   phone.sh FOLDER
set -euo pipefail
folder=$(cd "$1" && pwd)
new=$folder/phone.new
rm -rf "$new"
mkdir -p "$new"/{adbd,data,dev,proc,sys,system/bin}
ln -s system/bin "$new/bin"

applets=(awk base64 basename cat chgrp chmod chown cksum cmp comm cp cut date dd df diff dirname dmesg du echo env expr
    false find flock free getopt grep groups gunzip gzip head hostname id ionice kill killall ln ls lsof md5sum microcom
    mkdir mkfifo mknod mktemp more mount mv nice nl nohup od paste patch pgrep pidof pkill printf ps pwd readlink realpath
    renice rm rmdir sed seq setsid sh sha1sum sha256sum sha512sum sleep sort split stat strings stty sync sysctl tail tar
    taskset tee test time timeout top touch tr true truncate tty ulimit umount uname uniq unlink uptime usleep watch wc
    which whoami xargs yes zcat)
cp "$folder/board/bin/busybox" "$new/system/bin/busybox"
for applet in "${applets[@]}"; do
    ln -s busybox "$new/system/bin/$applet"
done

# adbd is not emulated: it brings this machine's loader and libraries, out of the way of everything else on the phone.
cp "$folder/adbd" "$folder/adbd-secure" "$new/adbd/"
ldd "$folder/adbd" | awk '$3 ~ /^\// { print $3 } $1 ~ /^\/lib/ { print $1 }' | while read -r library; do
    cp --dereference "$library" "$new/adbd/"
done
rm -rf "$folder/phone"
mv "$new" "$folder/phone"
