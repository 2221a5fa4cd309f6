"""What the stand-in does not do: the rows of "Known differences" in docs/stand-in.md, tested.

They are skipped on the stand-in, with the reason.
"""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import Sandbox
from sandbox.stack.readiness import until
from tests.e2e.media.test_packets import share_heard
from tests.e2e.ops.conftest import Side
from tests.e2e.wire import Wire


@pytest.mark.only_livekit_sip(reason="the stand-in's prompts are tones")
async def test_the_pin_prompt_is_speech(sandbox: Sandbox) -> None:
    """Who is asked for a PIN hears a voice: many pitches, not the one of a tone. (S-PIN-01)"""
    mark = sandbox.timeline.mark()
    call = await sandbox.phone.dial(await sandbox.inbound(pin="1234"))
    await call.answered(within=2)

    async def many() -> bool:
        heard = (e for e in sandbox.timeline.since(mark) if e.name == "media.tone")
        return len({round(event.data["hz"] / 20) for event in heard}) >= 4

    assert await until(many, within=6)


@pytest.mark.only_livekit_sip(reason="the stand-in has no TLS")
async def test_a_call_out_by_tls_dials_tls(sandbox: Sandbox) -> None:
    """SIP_TRANSPORT_TLS where nobody listens: 412, and the error names the transport. (S-TLS-02)"""
    trunk = await sandbox.outbound_trunk(
        "127.0.0.1:9", transport=api.SIPTransport.SIP_TRANSPORT_TLS
    )
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out(trunk, "callee", room=sandbox.room(), wait=True)
    assert (caught.value.status, caught.value.code) == (412, "failed_precondition")
    assert "transport<TLS> dial err" in caught.value.message


@pytest.mark.only_livekit_sip(reason="the stand-in has no AMR-WB")
async def test_amr_wb_is_offered_first_where_it_is_switched_on(side: Side) -> None:
    """`codecs: {AMR-WB: true}`: calls out offer AMR-WB, before all others. (S-MED-04)

    It needs a livekit-sip that was built with AMR-WB.
    """
    await side.start(codecs={"AMR-WB": True})
    trunk = await side.sandbox.outbound_trunk(side.wire.address)
    await side.sandbox.call_out(trunk, "callee", room=side.sandbox.room())
    call = await side.wire.incoming()
    assert call.offer is not None
    await side.wire.respond(call.offer, 486, "Busy Here", tag=call.tag)
    await call.received("ACK")
    call.over = True
    codecs = [line for line in call.offer.body.splitlines() if line.startswith("a=rtpmap")]
    assert codecs[0].endswith(" AMR-WB/16000")
    assert codecs[1].endswith(" G722/8000")


@pytest.mark.only_livekit_sip(reason="the stand-in plays long packets whole")
@pytest.mark.parametrize("packet_ms", [40, 60])
async def test_long_packets_are_heard_with_gaps(
    sandbox: Sandbox, wire: Wire, packet_ms: int
) -> None:
    """A phone that sends packets of 40 or 60 ms is heard with gaps: a quarter is silence.

    (S-MED-09)
    """
    assert 0.4 < await share_heard(sandbox, wire, packet_ms) < 0.85


@pytest.mark.only_livekit_sip(reason="the stand-in has no limit of its CPU")
async def test_a_busy_machine_takes_no_calls_out(side: Side) -> None:
    """Above max_cpu_utilization health is 429 UnderLoad, and a call out finds no SIP service.

    (S-OUT-22)
    """
    await side.stop()
    await side.run("sip", max_cpu_utilization=0.0001)

    async def loaded() -> bool:
        try:
            return await side.health() == (429, "UnderLoad")
        except OSError:
            return False

    assert await until(loaded, within=10)
    trunk = await side.sandbox.outbound_trunk(side.wire.address)
    with pytest.raises(api.ServerError) as caught:
        await side.sandbox.call_out(trunk, "callee", room=side.sandbox.room())
    assert (caught.value.status, caught.value.code) == (503, "unavailable")


@pytest.mark.only_livekit_sip(reason="the stand-in gives an RTP port back at once")
async def test_the_rtp_port_of_a_call_is_held_back(side: Side) -> None:
    """With rtp_draining_idle_timeout the one RTP port is not free for a call just after another.

    The second is answered 500 without words. (S-MED-20)
    """
    await side.start(
        rtp_port=side.one_rtp_port(),
        rtp_draining_idle_timeout="30s",
        rtp_draining_duration="60s",
    )
    call = await side.wire.invite(await side.sandbox.inbound())
    await call.joined()
    await call.cancel()
    assert (await call.final()).status == 487
    second = await side.wire.invite(await side.sandbox.inbound())
    assert (await second.final()).start == "SIP/2.0 500 "
