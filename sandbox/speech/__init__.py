"""Saying and hearing: the tone alphabet, speech on this machine, and plugins for livekit-agents."""
