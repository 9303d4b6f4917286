"""Runners that were tampered with: the settled one is started with a library of the test's in front of all others."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from profilers.runners.bundle import LOADERS, runner_bundle

from .scenes import Scene

# The process dies as soon as it opens a model file of SIZE bytes.
DIES_OF_A_SIZE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>

int open(const char *path, int how, ...) {
    va_list more;
    va_start(more, how);
    int mode = va_arg(more, int), file;
    va_end(more);
    file = ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"))(path, how, mode);
    struct stat facts;
    if (file >= 0 && !fstat(file, &facts) && facts.st_size == SIZE)
        raise(SIGSEGV);
    return file;
}
"""
# Every clock jumps back by five seconds at every 997th look at it.
CLOCK_GOES_BACK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int looks, jumps;
    int code = ((int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime"))(clock, time);
    jumps += ++looks % 997 == 0;
    time->tv_sec -= 5 * jumps;
    return code;
}
"""


def settle(scene: Scene) -> Path:
    """Put the runner where it would be after a first run; returns its folder, from outside."""
    bundle = runner_bundle(platform.machine())
    owner = scene.folder.parent.stat()
    place = shutil.copytree(bundle, scene.folder / f"runner-{bundle.name}")
    (place / "complete").touch()
    for path in (scene.folder, place, *place.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
    return place


def tamper(scene: Scene, library: str, *definitions: str) -> None:
    """Let the scene's runner, settled where it is not, start with a library made of this C text."""
    found = list(scene.folder.glob("runner-*"))
    place = found[0] if found else settle(scene)
    source = scene.workspace.parent / "sabotage.c"
    source.write_text(library)
    shared = ["cc", "-shared", "-fPIC", *definitions, "-o", str(place / "sabotage.so"), str(source), "-ldl"]
    subprocess.run(shared, check=True)
    loader = place / LOADERS[platform.machine()]
    loader.rename(place / "loader")
    loader.write_text('#!/bin/sh\nhere=${0%/*}\nexec "$here/loader" --preload "$here/sabotage.so" "$@"\n')
    loader.chmod(0o755)


def mend(scene: Scene) -> None:
    """Take the library away again."""
    [place] = scene.folder.glob("runner-*")
    (place / "loader").rename(place / LOADERS[platform.machine()])
