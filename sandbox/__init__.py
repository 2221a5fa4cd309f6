"""LiveKit SIP sandbox: real phone calls to LiveKit, on one machine, from pytest.

What a test imports is here; everything else is private and may change. The fixtures `sandbox`
and `agent` come with the pytest plugin, which an installed package registers by itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.agents.jobs import Caller, Job, Worker
    from sandbox.agents.process import AgentProcess
    from sandbox.agents.worker import Agent
    from sandbox.core import Sandbox
    from sandbox.errors import (
        AgentError,
        CallFailed,
        DeadlineMissed,
        GoldenMismatch,
        LeakError,
        PhoneError,
        SandboxError,
        SetupError,
        StackError,
        UsageError,
    )
    from sandbox.phone.call import Call
    from sandbox.phone.client import Credentials, Line, Phone
    from sandbox.phone.ladder import Ladder
    from sandbox.phone.message import SipMessage
    from sandbox.stack.endpoints import Endpoints
    from sandbox.stack.options import StackOptions
    from sandbox.stack.stack import Stack
    from sandbox.switchboard import Switchboard
    from sandbox.telephony.inbound import Inbound
    from sandbox.telephony.outbound import OutboundCall
    from sandbox.telephony.peer import Peer
    from sandbox.telephony.rooms import Room
    from sandbox.timeline import Event, Timeline
    from sandbox.trace.invariants.rule import InvariantBroken

# Loaded when first used: `sandbox --help` and a plain pytest run need not import LiveKit's SDKs.
_HOMES = {
    "Agent": "sandbox.agents.worker",
    "AgentError": "sandbox.errors",
    "AgentProcess": "sandbox.agents.process",
    "Call": "sandbox.phone.call",
    "CallFailed": "sandbox.errors",
    "Caller": "sandbox.agents.jobs",
    "Credentials": "sandbox.phone.client",
    "DeadlineMissed": "sandbox.errors",
    "Endpoints": "sandbox.stack.endpoints",
    "Event": "sandbox.timeline",
    "GoldenMismatch": "sandbox.errors",
    "Inbound": "sandbox.telephony.inbound",
    "InvariantBroken": "sandbox.trace.invariants.rule",
    "Job": "sandbox.agents.jobs",
    "LeakError": "sandbox.errors",
    "Ladder": "sandbox.phone.ladder",
    "Line": "sandbox.phone.client",
    "OutboundCall": "sandbox.telephony.outbound",
    "Peer": "sandbox.telephony.peer",
    "Phone": "sandbox.phone.client",
    "PhoneError": "sandbox.errors",
    "Room": "sandbox.telephony.rooms",
    "Sandbox": "sandbox.core",
    "SandboxError": "sandbox.errors",
    "SetupError": "sandbox.errors",
    "SipMessage": "sandbox.phone.message",
    "Stack": "sandbox.stack.stack",
    "StackError": "sandbox.errors",
    "StackOptions": "sandbox.stack.options",
    "Switchboard": "sandbox.switchboard",
    "Timeline": "sandbox.timeline",
    "UsageError": "sandbox.errors",
    "Worker": "sandbox.agents.jobs",
}

__all__ = [
    "Agent",
    "AgentError",
    "AgentProcess",
    "Call",
    "CallFailed",
    "Caller",
    "Credentials",
    "DeadlineMissed",
    "Endpoints",
    "Event",
    "GoldenMismatch",
    "Inbound",
    "InvariantBroken",
    "Job",
    "Ladder",
    "LeakError",
    "Line",
    "OutboundCall",
    "Peer",
    "Phone",
    "PhoneError",
    "Room",
    "Sandbox",
    "SandboxError",
    "SetupError",
    "SipMessage",
    "Stack",
    "StackError",
    "StackOptions",
    "Switchboard",
    "Timeline",
    "UsageError",
    "Worker",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
