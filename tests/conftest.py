"""Shared by all tests: pytester, for the tests of the plugin."""

pytest_plugins = ["pytester"]
