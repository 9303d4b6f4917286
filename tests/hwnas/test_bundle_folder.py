"""A bundle is replaced as a whole: killed at any moment, the old or the new one is there, and nothing is left over."""

import subprocess
import sys
from pathlib import Path

import pytest

from hwnas.export import folder
from hwnas.export.bundle import check_place, read_bundles
from hwnas.export.folder import check_writable, recover, replace_folder
from profilers.errors import InvalidInputError

from .bundles import request, small_bundle

OLD = {"bundle.json": b"old", "model.onnx": b"old" * 9, "model.tflite": b"old"}
NEW = {"bundle.json": b"new", "model.onnx": b"new" * 9}
MINE = {"notes.txt": b"mine"}

# Forks a process for every step that writing takes, and kills it there. Steps are the calls of the system that Python
# reports, before they are made, and the moment behind the exchange.
KILLED = f"""
import os, shutil, signal, sys
from pathlib import Path
from hwnas.export import folder
OLD, NEW, MINE = {OLD!r}, {NEW!r}, {MINE!r}
exchanging, base = sys.argv[1] == "exchange", Path(sys.argv[2])
if not exchanging:
    folder._exchanged = lambda one, other: False

def contents(place):
    return {{path.name: path.read_bytes() for path in place.iterdir()}} if place.is_dir() else None

def kill_at(last):
    steps = 0
    def step(*_):
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
    exchange = folder._exchanged
    folder._exchanged = lambda one, other: (exchange(one, other), step())[0]
    sys.addaudithook(lambda event, _: step() if event.startswith(("os.", "open", "shutil.", "fcntl.")) else None)

killed = seen = 0
while True:
    place = base / str(killed) / "bundles" / "one"
    place.mkdir(parents=True)
    for name, content in (OLD | MINE).items():
        (place / name).write_bytes(content)
    child = os.fork()
    if not child:
        kill_at(killed + 1)
        folder.replace_folder(place, NEW)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if exchanging:  # there is a whole bundle before anybody clears up
        found = {{name: content for name, content in contents(place).items() if name not in MINE}}
        assert found in (OLD, NEW), (killed, found)
    folder.recover(place.parent)
    found = contents(place)
    assert found in (OLD | MINE, NEW | MINE), (killed, found)
    seen |= 1 if found == OLD | MINE else 2
    folder.replace_folder(place.with_name("another"), NEW)  # the next writer
    assert {{path.name for path in place.parent.iterdir() if not path.name.endswith(".lock")}} == {{"one", "another"}}
    shutil.rmtree(base / str(killed))
    if os.waitstatus_to_exitcode(status) == 0:
        break
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    killed += 1
assert seen == 3
print(killed)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and exchanges folders")
@pytest.mark.parametrize("how", ["exchange", "rename"])
def test_a_writer_that_is_killed_anywhere_leaves_the_old_bundle_or_the_new_one(tmp_path, how):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, how, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15  # places where it was killed


def test_what_people_put_into_a_bundle_stays_and_what_hwnas_wrote_goes(tmp_path, files):
    replace_folder(tmp_path / "one", OLD)
    (tmp_path / "one" / "notes.txt").write_bytes(b"mine")
    (tmp_path / "one" / "pictures").mkdir()
    (tmp_path / "one" / "pictures" / "cat.jpg").write_bytes(b"cat")
    replace_folder(tmp_path / "one", NEW)
    assert files(tmp_path / "one") == NEW | MINE | {"pictures/cat.jpg": b"cat"}


def test_a_bundle_is_written_through_a_link(tmp_path, files):
    (tmp_path / "disk").mkdir()
    (tmp_path / "one").symlink_to(tmp_path / "disk" / "far")
    for contents in (OLD, NEW):
        replace_folder(tmp_path / "one", contents)
        assert (tmp_path / "one").is_symlink() and files(tmp_path / "disk" / "far") == contents
    assert [path.name for path in (tmp_path / "disk").iterdir() if path.suffix != ".lock"] == ["far"]


@pytest.mark.parametrize("obstacle", ["file", "circle", "file above", "name"])
def test_a_place_that_takes_no_bundle_is_refused_before_the_work(tmp_path, obstacle):
    place = tmp_path / "one"
    if obstacle == "file":
        place.write_text("mine")
    elif obstacle == "circle":
        place.symlink_to(place)
    elif obstacle == "file above":
        place.write_text("mine")
        place = place / "two"
    else:
        place = tmp_path / ("x" * 300)
    with pytest.raises(InvalidInputError, match="cannot be written"):
        check_writable(place)
    with pytest.raises(InvalidInputError, match="cannot be written"):
        replace_folder(place, NEW)


def test_a_folder_that_looks_like_a_leftover_of_another_bundle_is_left_alone(tmp_path):
    (tmp_path / ".one-more.new.tmp").mkdir()
    replace_folder(tmp_path / "one", NEW)
    assert (tmp_path / ".one-more.new.tmp").is_dir()


WRITER = """
import sys
from pathlib import Path
from hwnas.export.folder import replace_folder
for _ in range(20):
    replace_folder(Path(sys.argv[1]), {"bundle.json": sys.argv[2].encode(), "model.onnx": sys.argv[2].encode() * 999})
"""


def test_writers_of_one_bundle_wait_for_each_other(tmp_path, files):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "one"), name], stderr=subprocess.PIPE)
        for name in "abc"
    ]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [(b"", 0)] * 3
    found = files(tmp_path)
    assert found.keys() == {"one/bundle.json", "one/model.onnx"}
    assert found["one/model.onnx"] == found["one/bundle.json"] * 999


def test_a_bundle_that_is_being_written_elsewhere_is_waited_for_and_then_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "WAIT_S", 0.05)
    with folder._writing(tmp_path / "one", 0), pytest.raises(InvalidInputError, match="another hwnas process"):
        replace_folder(tmp_path / "one", NEW)


def test_a_bundle_for_another_request_is_not_overwritten(tmp_path, files):
    place = tmp_path / "bundles" / "one"
    small_bundle(place, b"first", request=request())
    small_bundle(place, b"again", request=request())
    before = files(tmp_path)
    for other in (
        request(limits={"macs": 1e6}), request(data="cifar10"), request(resolutions=(32,)),
        request(budget_ms={"host": 0.1000001}), request(available=True),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match="made for something else"):
            check_place(place, other)
        with pytest.raises(InvalidInputError, match="made for something else"):
            small_bundle(place, b"other", request=other)
    assert files(tmp_path) == before


def test_a_bundle_of_an_earlier_version_is_replaced_by_one_for_the_same_data_only(tmp_path):
    place = tmp_path / "bundles" / "one"
    small_bundle(place, request=None)
    with pytest.raises(InvalidInputError, match="made for something else"):
        small_bundle(place, request=request(data="cifar10"), data="cifar10")
    small_bundle(place, request=request())
    assert read_bundles(place.parent)[0][0].record.request == request()


def test_who_may_only_read_sees_the_bundles_there_are(tmp_path, monkeypatch):
    place = tmp_path / "bundles" / "one"
    small_bundle(place)
    place.with_name(".two.new.tmp").mkdir()

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder.filelock.FileLock, "acquire", refused)
    recover(place.parent)
    found, wrong = read_bundles(place.parent)
    assert [one.folder for one in found] == [place] and not wrong


def test_earlier_versions_leftovers_are_cleared_up(tmp_path):
    leftover = Path(tmp_path / ".one.4711.tmp")
    leftover.mkdir()
    (leftover / ".model.onnx.4711.tmp").write_bytes(b"half")
    replace_folder(tmp_path / "one", NEW)
    assert not leftover.exists()
