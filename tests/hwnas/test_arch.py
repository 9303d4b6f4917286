import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.arch import Arch
from profilers.errors import InvalidInputError

names = st.from_regex(r"[a-z][a-z0-9@.:-]{0,20}", fullmatch=True)


@given(names, st.lists(st.integers(0, 4096), min_size=1, max_size=50))
def test_parse_inverts_str(space, values):
    arch = Arch(space, tuple(values))
    assert Arch.parse(str(arch)) == arch


@pytest.mark.parametrize("text", ["", "digits", "digits:", ":1-2", "digits:1-x", "digits:1--2", "digits:-1", "d:1-²"])
def test_what_is_no_architecture_is_refused(text):
    with pytest.raises(InvalidInputError, match="no architecture"):
        Arch.parse(text)
