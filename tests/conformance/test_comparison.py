"""The comparison itself: a recording that says something else is found to differ, and where."""

from __future__ import annotations

import pytest

from .cases import tune_of
from .compare import differences
from .recording import Recording
from .replay import Ground, Replay

_ALTERED = {
    "a status": (
        "in_room_deleted_ringing", "SIP/2.0 486 Rejected", "SIP/2.0 480 Rejected",
        "SIP responses to [1 INVITE]: recorded ['100 Processing', '180 Ringing', '480 Rejected']",
    ),
    "a reason phrase": (
        "auth_none", "407 Unauthorized", "407 Proxy Authentication Required",
        "407 Proxy Authentication Required",
    ),
    "a header of a response": ("auth_none", "algorithm=MD5", "algorithm=SHA-256", "SHA-256"),
    "a header that is missing": (
        "auth_none", "Proxy-Authenticate: ", "Server: LiveKit\\r\\nProxy-Authenticate: ",
        "server: recorded ['LiveKit'], now None",
    ),
    "a line of the SDP answer": (
        "codec_sendonly", "ptime:20\\r\\na=sendrecv\\r\\n\"", "ptime:20\\r\\na=recvonly\\r\\n\"",
        "a=recvonly",
    ),
    "a request that comes": (
        "in_removed", '"dir": "rx",\n   "raw": "BYE sip:', '"dir": "rx",\n   "raw": "INFO sip:',
        "SIP requests [2 BYE]",
    ),
    "an attribute": (
        "in_nobody", '"sip.hostname": "127.0.0.1"', '"sip.hostname": "pbx.example"',
        "sip.hostname: recorded 'pbx.example'",
    ),
    "an id in the wrong place": (
        "in_nobody", '"sip.callTag": "', '"sip.callTag": "SCL_', "sip.callTag: recorded",
    ),
    "the way of callStatus": (
        "out_486", '"sip.callStatus": "ringing"', '"sip.callStatus": "active"',
        "sip.callStatus over time: recorded ['dialing', 'active'], now ['dialing', 'ringing']",
    ),
    "why a participant left": (
        "out_486", "USER_REJECTED", "USER_UNAVAILABLE", "left: recorded USER_UNAVAILABLE",
    ),
    "an error of the API": (
        "out_486", "INVITE failed: sip status", "INVITE refused: sip status", "INVITE refused",
    ),
    "a room's name": (
        "disp_individual_norandom", "_+15550001\",\n      \"empty", "_+15550009\",\n      \"empty",
        "recorded, not there",
    ),
    "a digit in the room": ("dtmf_in", '"digit": "a"', '"digit": "A"', "DTMF in the room"),
    "a telephone-event": ("dtmf_out", '"vol": 10', '"vol": 7', "telephone-events"),
    "a codec": ("codec_pcma", '"8": ', '"0": ', "payload types: recorded [0], now [8]"),
    "a time": (
        "invite_no_ack", '"t": 0.9192', '"t": 1.9192',
        "time from rx 200 to rx 200 #3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", _ALTERED)
async def test_an_altered_recording_differs(what: str, ground: Ground) -> None:
    name, old, new, expected = _ALTERED[what]
    replay = Replay(Recording.load(name, {old: new}), tune_of(name), ground)
    await replay.run()
    found = "\n".join(differences(replay))
    assert expected in found, f"{what} was altered, and what was found is: {found or 'nothing'}"
