"""However often a command is told to end, it clears up, says one line and ends with 130."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hwnas.cli.interrupts import Interrupted, interruption_in

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if os.name != "nt" else []
DEADLINE_S = 60

# What commands do: threads that work on, a lock, a temporary folder, an error on the way out. Threads end only after
# all signals have come, so that clearing up is always what these interrupt.
WORKING = """
import sys, tempfile, threading, warnings
from concurrent.futures import ThreadPoolExecutor, wait
import filelock, numpy as np
from hwnas.cli import interrupts
from profilers.errors import DeviceError

stop, told = threading.Event(), threading.Event()
def listen():
    sys.stdin.readline()
    told.set()
def work():
    while not (stop.is_set() and told.is_set()):
        np.ones((64, 64)) @ np.ones((64, 64))
def run():
    threading.Thread(target=listen).start()
    with tempfile.TemporaryDirectory(dir=sys.argv[1]), filelock.FileLock(sys.argv[1] + "/lock"):
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(work) for _ in range(8)]
            try:
                print("ready", flush=True)
                while wait(waiting, 0.05).not_done:
                    pass
            except BaseException:
                stop.set()
                if "failing" in sys.argv:
                    raise DeviceError("gone while it was cleared up")
                raise
            finally:
                print("clearing up", flush=True)
    return 0
sys.exit(interrupts.until_interrupted(run, ends=True))
"""


def heard():
    """Signals are heard in the program, though a test run under nohup, or in the background of a shell, hears none."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """Starts the program in the test's folder; whatever comes of the test, it ends with it."""
    started = []

    def begin(*more, before=heard):
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", WORKING, str(tmp_path), *more]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, preexec_fn=before)  # noqa: PLW1509
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def end(process):
    output, errors = process.communicate("all signals came\n", timeout=DEADLINE_S)
    return process.returncode, output, errors.splitlines()


def assert_cleared_up(folder, process):
    code, output, errors = end(process)
    assert (code, output) == (130, "clearing up\n")
    assert len(errors) == 1 and errors[0].startswith("hwnas: interrupted; ")
    assert [path.name for path in folder.iterdir() if path.name != "lock"] == []


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_a_signal_ends_a_command_once_it_has_cleared_up(tmp_path, start, number):
    process = start()
    process.send_signal(number)
    assert_cleared_up(tmp_path, process)


def test_twenty_signals_in_a_row_are_as_one(tmp_path, start):
    process = start()
    for turn in range(20):
        process.send_signal(NUMBERS[turn % 3])
        time.sleep(0.002 * (turn % 4))
    assert_cleared_up(tmp_path, process)


def test_an_error_while_it_is_cleared_up_does_not_hide_the_interruption(tmp_path, start):
    process = start("failing")
    process.send_signal(signal.SIGTERM)
    assert_cleared_up(tmp_path, process)


def test_nohup_is_respected(tmp_path, start):
    process = start(before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):  # it works on: never true if it had ended
        process.wait(0.3)
    process.send_signal(signal.SIGINT)
    assert_cleared_up(tmp_path, process)


def test_an_interruption_is_found_behind_errors_that_came_of_it():
    error = ValueError("cleared up wrongly")
    error.__context__ = KeyError("of that")
    error.__context__.__context__ = Interrupted()
    assert interruption_in(error) is error.__context__.__context__
    assert interruption_in(ValueError("of its own")) is None and interruption_in(None) is None


PROFILE = ["profile", "--space", "digits@0.25", "--resolution", "16", "--careful", "--json"]


def test_profiling_that_gets_many_signals_loses_nothing_and_goes_on(tmp_path):
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "HWNAS_WORKSPACE": str(tmp_path)}
    path = tmp_path / "tables" / "host-onnxruntime-fp32-t1-b1.jsonl"
    pipe, kept = subprocess.PIPE, b""
    for number in NUMBERS:
        process = subprocess.Popen([sys.executable, "-m", "hwnas", *PROFILE], stdout=pipe, stderr=pipe, text=True,
                                   env=environment, cwd=tmp_path, preexec_fn=heard)  # noqa: PLW1509  # fmt: skip
        deadline = time.monotonic() + DEADLINE_S
        try:
            while not path.exists() or path.read_bytes().count(b"\n") <= kept.count(b"\n"):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.005)
            for turn in range(20):
                process.send_signal(number)
                time.sleep(0.002 * (turn % 3))
            _, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
        said = [line for line in errors.splitlines() if line.startswith("hwnas: ")]
        assert process.returncode == 130 and "Traceback" not in errors and len(said) == 1, errors
        now = path.read_bytes()
        assert now.startswith(kept) and now.endswith(b"\n") and len(now) > len(kept)
        assert all(json.loads(line) for line in now.splitlines())
        kept = now
