"""Why a call lands where it lands: a model of LiveKit's matching, and its verdict in words."""

from sandbox.explain.call import Credentials, IncomingCall
from sandbox.explain.failed import explain_failed_call
from sandbox.explain.lints import Lint, lint
from sandbox.explain.model import explain
from sandbox.explain.render import as_json, as_text, verdict_lines
from sandbox.explain.verdict import Explanation, Outcome

__all__ = [
    "Credentials",
    "Explanation",
    "IncomingCall",
    "Lint",
    "Outcome",
    "as_json",
    "as_text",
    "explain",
    "explain_failed_call",
    "lint",
    "verdict_lines",
]
