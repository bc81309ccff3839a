"""What every profile must do; a new one is a line in the list of tests/test_profiles.py."""

import json
import math
from typing import Any

import mpmath
import msgspec
import numpy as np
import pytest
import torch

import twin
from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import PROFILES, AnyProfile, Profile
from lrcontrol.schedules.schedule import LARGEST, Schedule, Segment
from lrcontrol.schedules.text import from_json, schedule, to_json

GRID = np.unique(
    np.concatenate(
        [
            np.linspace(0, 1, 1001),
            np.geomspace(1e-300, 1, 301),
            1 - np.geomspace(2.0**-53, 0.5, 301),
            [5e-324, 2.0**-53, np.nextafter(1, 0)],
        ]
    )
)
LENGTH = 1000  # over which a shape by the step is laid


def library_of_one(value: float) -> list[Any]:
    """`value` as an array of one, in numpy and torch."""
    return [np.array([value]), torch.tensor([value], dtype=torch.float64)]


class ProfileContract:
    """Inherit, and give a `profile` fixture; `ends` is what it weighs at progress 0 and 1, start first."""

    @pytest.fixture
    def profile(self) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (1.0, 0.0), (0.0, 1.0)

    @pytest.fixture
    def falls(self) -> bool:
        return True

    def test_it_is_a_profile_that_text_and_json_know(self, profile: Any) -> None:
        assert isinstance(profile, Profile)
        assert isinstance(profile, AnyProfile)
        assert PROFILES[profile.__struct_config__.tag] is type(profile)

    def test_ends_are_exact(self, profile: Any, ends: Any) -> None:
        """The two weights in every library, over counts and over shares, and the curve, which starts at 1."""
        shape = profile.laid(LENGTH)
        for whole in (1.0, 7.0, 2.0**53):
            for none, all_of_it in zip(library_of_one(0.0), library_of_one(whole), strict=True):
                for gone, left, wanted in ((none, all_of_it, ends[0]), (all_of_it, none, ends[1])):
                    weights = (shape.start_weight(gone, left, whole), shape.end_weight(gone, left, whole))
                    assert tuple(float(weight[0]) for weight in weights) == wanted
                assert float(shape.curve(none, all_of_it, whole)[0]) == ends[0][0]

    def test_the_natural_end_is_where_the_curve_comes_to(self, profile: Any, ends: Any) -> None:
        shape = profile.laid(LENGTH)
        with mpmath.workdps(twin.DIGITS):
            true = twin.curve(profile, mpmath.mpf(1), LENGTH) if ends[1][0] == 0 else shape.natural_end
            assert twin.ulps(shape.natural_end, true) <= 0.5
        if profile.natural_end is not None:
            assert profile.natural_end == shape.natural_end
        last = shape(1)
        assert last == pytest.approx(shape.natural_end if ends[1][0] in (0, 1) else ends[1][0], rel=1e-15)

    def test_weights_stay_in_range_and_share_one(self, profile: Any) -> None:
        shape = profile.laid(LENGTH)
        toward_start, toward_end = (weight(GRID, 1 - GRID, 1.0) for weight in (shape.start_weight, shape.end_weight))
        for weight in (toward_start, toward_end):
            assert weight.dtype == np.float64
            assert weight.shape == GRID.shape
            assert np.all((weight >= 0) & (weight <= 1 + 2.0**-52))
        assert np.all(np.abs(toward_start + toward_end - 1) <= (6 + getattr(profile, "power", 0)) * 2.0**-53)

    def test_the_start_never_gains_weight(self, profile: Any, falls: bool) -> None:
        shape = profile.laid(LENGTH)
        if falls:
            weight = shape.start_weight(GRID, 1 - GRID, 1.0)
            assert np.all(np.diff(weight) <= 8 * np.spacing(weight[:-1]))
        else:
            assert any(later > earlier for earlier, later in zip(profile.values, profile.values[1:], strict=False))

    def test_number_and_array_agree_bit_for_bit(self, profile: Any) -> None:
        shape = profile.laid(LENGTH)
        together = shape(GRID)
        assert [shape(float(progress)) for progress in GRID] == together.tolist()
        assert [shape(progress) for progress in GRID] == together.tolist()
        assert shape(GRID.reshape(-1, 1)).shape == (len(GRID), 1)

    def test_torch_agrees_within_4_ulp(self, profile: Any) -> None:
        shape = profile.laid(LENGTH)
        for ours, theirs in (
            (shape(GRID), shape(torch.from_numpy(GRID))),
            *(
                (weight(GRID, 1 - GRID, 1.0), weight(torch.from_numpy(GRID), torch.from_numpy(1 - GRID), 1.0))
                for weight in (shape.start_weight, shape.end_weight)
            ),
        ):
            assert theirs.dtype == torch.float64
            assert np.all(np.abs(theirs.numpy() - ours) <= 4 * np.spacing(np.maximum(ours, 1e-300)))

    def test_a_number_outside_0_to_1_is_refused(self, profile: Any) -> None:
        for bad in (-1e-9, 1.0000001, math.nan, math.inf, True, "0.5", None, [0.5], 10**5000):
            with pytest.raises(BadInput, match="`progress`"):
                profile.laid(LENGTH)(bad)

    def test_frozen_and_equal_by_value(self, profile: Any) -> None:
        copy = msgspec.structs.replace(profile)
        assert copy is not profile
        assert copy == profile
        assert hash(copy) == hash(profile)
        with pytest.raises(AttributeError):
            profile.new_field = 1

    def test_text_and_json_read_back_equal(self, profile: Any) -> None:
        for end in (None, 0.75 if profile.natural_end == 1 else 0.5):
            if end is None and (profile.natural_end or 0) > LARGEST:
                continue
            whole = Schedule((Segment(profile, 0.75, end),))
            assert schedule(str(whole)) == whole
            assert from_json(to_json(whole)) == whole
        assert msgspec.convert(json.loads(msgspec.json.encode(profile)), type(profile)) == profile

    def test_every_field_moves_the_curve(self, profile: Any) -> None:
        for field in msgspec.structs.fields(profile):
            value = getattr(profile, field.name)
            moved = tuple(item * 0.9 for item in value) if isinstance(value, tuple) else type(value)(value * 0.9)
            other = msgspec.structs.replace(profile, **{field.name: moved})
            assert other != profile
            assert not np.array_equal(other.laid(LENGTH)(GRID), profile.laid(LENGTH)(GRID)), field.name

    def test_bad_numbers_are_refused_by_name(self, profile: Any) -> None:
        for field in msgspec.structs.fields(profile):
            for bad in (True, math.nan, math.inf, -math.inf, "10", None, 10**5000, 0, [1.0], {}, 1e20):
                with pytest.raises(BadInput, match=f"`{field.name}`"):
                    msgspec.structs.replace(profile, **{field.name: bad})
