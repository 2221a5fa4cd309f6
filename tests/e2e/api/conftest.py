"""What the API scenarios share: refusals, and requests that the SDK would not send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from livekit import api

from sandbox import Sandbox

Twirp = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def twirp(sandbox: Sandbox) -> Twirp:
    """POST a JSON body to a method, as curl would; answers (HTTP status, JSON or text)."""
    ends = sandbox.endpoints

    async def post(
        method: str,
        body: Mapping[str, Any],
        *,
        sip: api.SIPGrants | None = None,
        video: api.VideoGrants | None = None,
        token: str | None = None,
    ) -> tuple[int, Any]:
        if token is None:
            made = api.AccessToken(ends.api_key, ends.api_secret)
            made = made.with_grants(video or api.VideoGrants())
            token = made.with_sip_grants(sip or api.SIPGrants(admin=True, call=True)).to_jwt()
        url = ends.livekit_url.replace("ws", "http", 1) + f"/twirp/livekit.SIP/{method}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=headers) as response,
        ):
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, (await response.text()).strip()

    return post


async def refused(request: Awaitable[Any], status: int, code: str, message: str) -> None:
    """The request is refused with exactly this HTTP status, Twirp code and message."""
    with pytest.raises(api.ServerError) as caught:
        await request
    error = caught.value
    assert (error.status, error.code, error.message) == (status, code, message)
