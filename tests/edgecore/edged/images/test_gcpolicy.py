"""When images are removed: pure, nothing faked."""

import pytest

from edgecore.edged.images.gcpolicy import GCPolicy


@pytest.mark.parametrize(("low", "high"), [(90, 85), (-1, 85), (80, 101)])
def test_thresholds_that_make_no_sense_are_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="must hold"):
        GCPolicy(high, low)
