"""A request survives its way through a run's parameters, and a wrong value is named."""

from typing import get_args

import pytest

from sluice.errors import ConfigError
from sluice.plan.model import Kind, Mode
from sluice.plan.request import AS_PLANNED, DeployRequest


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("mode", [None, *Mode])
def test_request_survives_its_way_through_parameters(kind, mode):
    request = DeployRequest(kind=kind, mode=mode, reason="why", overrides={"least": 1}, target_release=3)
    params = request.params()
    assert DeployRequest.from_params(params) == request
    assert all(type(value) in (str, int, bool) for value in params.values())


def test_untouched_form_requests_no_mode():
    assert DeployRequest.from_params({"mode": AS_PLANNED, "reason": ""}) == DeployRequest()


def test_wrong_mode_is_refused_with_the_allowed_ones():
    with pytest.raises(ConfigError, match="expected one of savepoint, last-state, stateless, got 'bogus'"):
        DeployRequest.of(mode="bogus")
