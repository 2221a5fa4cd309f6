"""The attach engine: from which of this machine's addresses a deployment is reached."""

from __future__ import annotations

import pytest

from sandbox.errors import StackError
from sandbox.stack.attach import _this_side


async def test_a_deployment_on_this_machine_is_reached_on_loopback() -> None:
    assert await _this_side("127.0.0.1", 5060) == "127.0.0.1"


async def test_a_deployment_that_is_not_found_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(StackError, match="no way to the SIP service") as caught:
        await _this_side("nowhere.invalid", 5060)
    assert "SANDBOX_PHONE_HOST" in str(caught.value)
