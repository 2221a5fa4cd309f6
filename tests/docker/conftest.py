"""Tests of the Compose engine against a real daemon: `make test-docker`."""

from __future__ import annotations

import pytest

from sandbox.stack.compose_choice import compose_unfit
from sandbox.stack.docker_cli import Docker


@pytest.fixture(scope="session")
def docker() -> Docker:
    """The Docker client; tests are skipped where Compose cannot be used."""
    if unfit := compose_unfit():
        pytest.skip(unfit)
    return Docker()
