"""The phone's own process: the switchboard and its PJSIP workers; only it imports pjsua2."""
