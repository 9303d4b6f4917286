"""What tests of several rooms share."""

import os
from pathlib import Path

import pytest

# Before torch is imported anywhere, here or in a subprocess: threads that wait actively for each other take minutes
# over what takes seconds as soon as a neighbour uses one of the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Published tables, nets and golden vectors, which are not part of the project; tests of them skip without."""
    folder = Path(os.environ.get("HWNAS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"published data are not at {folder} (HWNAS_SHARED_DATA says where)")
    return folder
