"""The wheel's build hook: compose/ goes inside the package.

In a checkout, and so in an editable install, it lies beside the package.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ComposeFolder(BuildHookInterface):  # type: ignore[type-arg]
    """Adds compose/ to wheels that are not editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        if version == "standard":
            build_data["force_include"]["compose"] = "sandbox/_compose"
