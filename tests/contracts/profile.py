"""What every profile must do; a new one is a line in the list of tests/test_profiles.py."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from lrcontrol.errors import BadInput
from lrcontrol.schedules.profiles import PROFILES, AnyProfile, Profile
from lrcontrol.schedules.schedule import Schedule, Segment
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


class ProfileContract:
    """Inherit, and give a `profile` fixture; `ends` is what it weighs at progress 1."""

    @pytest.fixture
    def profile(self) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def ends(self) -> tuple[float, float]:
        return (0.0, 1.0)

    def test_it_is_a_profile_that_text_and_json_know(self, profile: Any) -> None:
        assert isinstance(profile, Profile)
        assert isinstance(profile, AnyProfile)
        assert PROFILES[profile.__struct_config__.tag] is type(profile)

    def test_ends_are_exact(self, profile: Any, ends: tuple[float, float]) -> None:
        for one in (np.array([1.0]), torch.tensor([1.0], dtype=torch.float64)):
            assert tuple(float(weight[0]) for weight in profile.split(one * 0, one)) == (1.0, 0.0)
            assert tuple(float(weight[0]) for weight in profile.split(one, one * 0)) == ends
        assert (profile(0), profile(1)) == (1.0, ends[0])

    def test_weights_stay_in_range_and_share_one(self, profile: Any) -> None:
        toward_start, toward_end = profile.split(GRID, 1 - GRID)
        for weight in (toward_start, toward_end):
            assert weight.dtype == np.float64
            assert weight.shape == GRID.shape
            assert np.all((weight >= 0) & (weight <= 1))
        assert np.all(np.abs(toward_start + toward_end - 1) <= (4 + getattr(profile, "power", 0)) * 2.0**-53)

    def test_the_start_never_gains_weight(self, profile: Any) -> None:
        weight = profile(GRID)
        assert np.all(np.diff(weight) <= 4 * np.spacing(weight[:-1]))

    def test_number_and_array_agree_bit_for_bit(self, profile: Any) -> None:
        together = profile(GRID)
        assert [profile(float(progress)) for progress in GRID] == together.tolist()
        assert [profile(progress) for progress in GRID] == together.tolist()
        assert profile(GRID.reshape(-1, 1)).shape == (len(GRID), 1)

    def test_torch_agrees_within_4_ulp(self, profile: Any) -> None:
        ours = profile(GRID)
        theirs = profile(torch.from_numpy(GRID))
        assert theirs.dtype == torch.float64
        assert np.all(np.abs(theirs.numpy() - ours) <= 4 * np.spacing(np.maximum(ours, 1e-300)))

    def test_a_number_outside_0_to_1_is_refused(self, profile: Any) -> None:
        for bad in (-1e-9, 1.0000001, math.nan, math.inf, True, "0.5", None, [0.5], 10**5000):
            with pytest.raises(BadInput, match="`progress`"):
                profile(bad)

    def test_frozen_and_equal_by_value(self, profile: Any) -> None:
        twin = msgspec.structs.replace(profile)
        assert twin is not profile
        assert twin == profile
        assert hash(twin) == hash(profile)
        with pytest.raises(AttributeError):
            profile.new_field = 1

    def test_text_and_json_read_back_equal(self, profile: Any) -> None:
        whole = Schedule((Segment(profile, 0.75),))
        assert schedule(str(whole)) == whole
        assert from_json(to_json(whole)) == whole
        assert msgspec.convert(json.loads(msgspec.json.encode(profile)), type(profile)) == profile

    def test_every_field_moves_the_curve(self, profile: Any) -> None:
        for field in msgspec.structs.fields(profile):
            value = getattr(profile, field.name)
            other = msgspec.structs.replace(profile, **{field.name: value * 0.9})
            assert other != profile
            assert not np.array_equal(other(GRID), profile(GRID)), field.name

    def test_bad_numbers_are_refused_by_name(self, profile: Any) -> None:
        for field in msgspec.structs.fields(profile):
            for bad in (True, math.nan, math.inf, -math.inf, "10", None, 10**5000, 0, [1.0], 1e9):
                with pytest.raises(BadInput, match=f"`{field.name}`"):
                    msgspec.structs.replace(profile, **{field.name: bad}).__post_init__()
