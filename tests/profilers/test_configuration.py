"""What is written into a `devices.toml` is read as it was meant, and spoils nothing that was there."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profilers.configuration import add_device, configured_devices, find_device
from profilers.device import Device
from profilers.errors import InvalidInputError

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)
folders = st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=9)
devices = st.builds(
    Device,
    name=names,
    connect=st.sampled_from(["ssh://pi@board.local:2222", "adb://R5CT 40;$(id)", "adb://emulator-5554"]),
    threads=st.integers(1, 64),
    batch=st.integers(1, 64),
    clock=st.sampled_from(["wall", "cpu"]),
    cpus=st.lists(st.integers(0, 127), max_size=4).map(tuple),
    runner=st.just("") | folders.map(lambda folder: f"/{folder}/python3"),
    cooldown_s=st.floats(0, 1e9),
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")


@settings(max_examples=50)
@given(st.lists(devices, unique_by=lambda device: device.name, min_size=1, max_size=3))
def test_devices_are_read_as_they_were_added(added: list[Device]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for device in added:
            add_device(device, Path(folder, "devices.toml"))
        assert [find_device(device.name, Path(folder)) for device in added] == added


def test_what_was_written_by_hand_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    by_hand = "# mine\n[pi]\nconnect = 'ssh://pi'  # in the kitchen"  # without an end of line
    path.write_text(by_hand)
    add_device(Device(name="toy", runtime="fake"), path)
    assert path.read_text() == f'{by_hand}\n\n["toy"]\nruntime = "fake"\n'
    assert find_device("pi", tmp_path).connect == "ssh://pi"


@pytest.mark.parametrize("there", ["[toy]\n", "[toy\n", "toy = 1\n", "[pi]\nconnect = 7\n", "\N{SNOWMAN}"])
def test_a_file_that_cannot_be_added_to_is_left_as_it_is(tmp_path: Path, there: str) -> None:
    path = tmp_path / "devices.toml"
    path.write_text(there)
    with pytest.raises(InvalidInputError) as refused:
        add_device(Device(name="toy"), path)
    assert str(path) in str(refused.value) and path.read_text() == there


def test_a_path_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    """As the command line hands over bytes that are no text."""
    device = Device(name="toy", connect="ssh://pi", runner="/\udc80/python3")
    with pytest.raises(InvalidInputError, match=r"devices.toml cannot be written"):
        add_device(device, tmp_path / "devices.toml")
    assert not (tmp_path / "devices.toml").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidInputError, match=r"devices.toml cannot be (read|written)"):
        add_device(Device(name="toy"), tmp_path / "file" / "devices.toml")


def test_adding_leaves_a_link_a_link_and_permissions_as_they_are(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "devices.toml", tmp_path / "devices.toml"
    real.parent.mkdir()
    real.write_text("# mine\n[pi]\n")
    real.chmod(0o640)
    link.symlink_to(real)
    add_device(Device(name="toy"), link)
    assert link.is_symlink() and real.read_text() == '# mine\n[pi]\n\n\n["toy"]\n'
    assert real.stat().st_mode & 0o777 == 0o640 and set(configured_devices(tmp_path)) == {"host", "pi", "toy"}


@pytest.mark.parametrize("room", [0, 3, 20, 90])
def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path: Path, room: int) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "devices.toml"
    path.write_text("# mine\n[pi]\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(InvalidInputError, match="cannot be written"):
            add_device(Device(name="toy", runner="/" + "x" * 90 + "/python3", connect="ssh://pi"), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "# mine\n[pi]\n" and not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))


def test_a_name_of_a_section_is_quoted_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text('["\\u001b[31m' + "x" * 9000 + '"]\nthreads = "\\n"\n')
    with pytest.raises(InvalidInputError) as refused:
        configured_devices(tmp_path)
    assert len(str(refused.value)) < 400 and str(refused.value).isprintable()
