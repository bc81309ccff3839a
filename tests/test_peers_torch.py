"""Every schedule of torch.optim.lr_scheduler said in our text: the same function, closer to its formula."""

from typing import Any

import pytest

from peers.cases import Family, compared
from peers.of_torch import FAMILIES


@pytest.mark.parametrize("cases", [200, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_theirs_in_our_text_is_the_same_function(family: Family, cases: int, capsys: Any) -> None:
    """Ours is within 4 ulp of their documented formula at 40 digits, theirs within rounding (or drift) of ours."""
    found = compared(family, cases, seed=1)
    assert found.values >= cases
    with capsys.disabled():
        print(f"\n{found}", end="")
