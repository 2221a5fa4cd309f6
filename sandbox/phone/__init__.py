"""The test phone: a SIP switchboard in a process of its own, and its client.

The client (`client.Phone`, `client.Line`, `call.Call`) speaks HTTP to the service on loopback;
only `sandbox.phone.service` imports PJSIP, which is GPL. Nothing is imported here: the workers
start faster without the client's libraries.
"""
