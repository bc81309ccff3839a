"""Every schedule of transformers.optimization that is a function of the step, said in our text: the same function."""

from typing import Any

import pytest

pytest.importorskip("transformers")

from peers.cases import Family, compared
from peers.of_transformers import FAMILIES


@pytest.mark.parametrize("cases", [200, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_theirs_in_our_text_is_the_same_function(family: Family, cases: int, capsys: Any) -> None:
    """Ours is within 4 ulp of their documented formula at 40 digits, theirs within rounding of ours.

    Their hard restarts take the place in a cycle by a remainder of floats, and miss some.
    """
    found = compared(family, cases, seed=2)
    assert found.values >= cases
    with capsys.disabled():
        print(f"\n{found}", end="")
