"""The stack: redis, livekit-server, the SIP service and the phone, and how they are brought up."""
