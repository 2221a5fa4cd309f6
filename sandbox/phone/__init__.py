"""The test phone: a SIP switchboard in a process of its own, and its client.

The client (`Phone`, `Line`, `Call`) speaks HTTP to the service on loopback; only
`sandbox.phone.service` imports PJSIP, which is GPL.
"""

from sandbox.phone.call import Call, Ended, RtpStats
from sandbox.phone.client import Credentials, Line, Phone
from sandbox.phone.message import Header, SipMessage

__all__ = [
    "Call",
    "Credentials",
    "Ended",
    "Header",
    "Line",
    "Phone",
    "RtpStats",
    "SipMessage",
]
