"""A full disk and a killed process leave files that are whole: tried with real processes and real writes."""

import random
import shutil
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import pytest

from lut.storage import RecordLog, TornRecordWarning
from profilers.errors import InvalidInputError

HEADER = {"format": "test-log", "version": 3}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files by rlimit")

PREAMBLE = """
    import os, resource, sys
    from pathlib import Path
    from lut.storage import RecordLog, write_atomically
    from profilers.errors import InvalidInputError

    path, header = Path(sys.argv[1]), {"format": "test-log", "version": 3}

    def limit(size):  # files cannot grow beyond; Python ignores SIGXFSZ, so a write fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""


def command(script: str, path: Path, *arguments: object) -> list[str]:
    source = textwrap.dedent(PREAMBLE) + textwrap.dedent(script)
    return [sys.executable, "-c", source, str(path), *map(str, arguments)]


def output(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "" and done.returncode == 0
    return done.stdout.split()


def read(path: Path) -> RecordLog:
    return RecordLog.read(path, "test-log", 3)


def read_quietly(path: Path) -> RecordLog:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRecordWarning)
        return read(path)


@pytest.mark.parametrize("room", [0, 1, 500])
@pytest.mark.parametrize("length", [1000, 100_000])
def test_an_append_that_finds_the_disk_full_changes_nothing(tmp_path: Path, room: int, length: int) -> None:
    script = """
        room, length = map(int, sys.argv[2:])
        log = RecordLog.open(path, header)
        log.append({"n": 1})
        before = path.read_bytes()
        limit(len(before) + room)
        try:
            log.append({"long": "x" * length})
        except InvalidInputError as error:
            print(error.exit_code, "is intact" in str(error), str(path) in str(error))
        print(path.read_bytes() == before, log.records == [{"n": 1}])
        limit(resource.RLIM_INFINITY)
        log.append({"n": 2})
    """
    found = output(command(script, tmp_path / "log", room, length))
    assert found == ["3", "True", "True", "True", "True"]
    assert read(tmp_path / "log").records == [{"n": 1}, {"n": 2}]


def test_an_append_to_a_disk_that_is_really_full_changes_nothing(tmp_path: Path) -> None:
    # Here cutting off what was written makes the very room that was lacking, which a limit on file sizes does not.
    in_own_disk = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mounting = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
    if (
        not shutil.which("unshare")
        or subprocess.run([*in_own_disk, mounting, str(tmp_path), "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("a small disk of one's own needs Linux with user namespaces")
    script = """
        log = RecordLog.open(path, header)
        log.append({"n": "1" * 3900})
        before = path.read_bytes()
        filling = path.with_name("filling").open("wb", buffering=0)
        try:
            while True:
                filling.write(bytes(4096))
        except OSError:
            filling.truncate(filling.tell() - 4096)  # one page is free
        for length in (7000, 20_000):
            try:
                log.append({"long": "x" * length})
            except InvalidInputError as error:
                print("refused")
            print(path.read_bytes() == before)
        log.append({"n": 2})
        print([record["n"][:1] for record in RecordLog.read(path, "test-log", 3).records[:1]])
    """
    found = output([*in_own_disk, mounting, str(tmp_path), *command(script, tmp_path / "log")])
    assert found == ["refused", "True", "refused", "True", "['1']"]


@pytest.mark.parametrize("old", [None, b"old" * 100])
def test_a_replacement_that_finds_the_disk_full_leaves_the_old_file(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    script = """
        limit(1000)
        try:
            write_atomically(path, b"new" * 1000)
        except InvalidInputError as error:
            print(error.exit_code, "is intact" in str(error), str(path) in str(error))
    """
    assert output(command(script, path)) == ["3", "True", "True"]
    assert (path.read_bytes() if path.exists() else None) == old
    assert [found.name for found in tmp_path.iterdir()] == (["file"] if old is not None else [])


def test_a_process_that_writes_keeps_others_out_until_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = RecordLog.open(path, HEADER)
    script = """
        with RecordLog.open(path, header).writing():
            print("writing", flush=True)
            sys.stdin.read()
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command(script, path), stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "writing\n"
        with pytest.raises(InvalidInputError, match="another hwnas process"), log.writing():
            pytest.fail("two writers at once")
        other.kill()  # a lock must not outlive its holder
        other.wait(timeout=60)
        with log.writing():
            log.append({"n": 1})
    assert read(path).records == [{"n": 1}]


def test_a_log_loses_no_record_when_its_writer_is_killed(tmp_path: Path) -> None:
    path, chance = tmp_path / "log", random.Random(0)
    script = """
        import warnings
        warnings.simplefilter("ignore")  # of torn records, which are the point
        log = RecordLog.open(path, header)
        for n in range(10**9):
            log.append({"writer": os.getpid(), "n": n, "filling": "x" * (n * 997 % 20_000)})
            print(n, flush=True)
    """
    for _ in range(8):
        with subprocess.Popen(command(script, path), stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            writer.kill()
            said = [int(line) for line in [first, *writer.stdout] if line.endswith("\n")]
        kept = [record["n"] for record in read_quietly(path).records if record["writer"] == writer.pid]
        assert said[0] == 0 and kept == list(range(len(kept)))
        assert len(kept) - len(said) in (0, 1)  # killed between append and print, at most one was not announced
    assert len({record["writer"] for record in read_quietly(path).records}) == 8
