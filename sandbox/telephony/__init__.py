"""LiveKit's side of a call: trunks, dispatch rules, rooms, participants, calls out."""
