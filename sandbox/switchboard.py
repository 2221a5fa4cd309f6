"""The phone as a scenario uses it: calls and lines get numbers of the scenario's own block."""

from __future__ import annotations

import re
from typing import Any

from sandbox.phone.call import Call
from sandbox.phone.client import Line, Phone
from sandbox.phone.link import header_list
from sandbox.stack.endpoints import Endpoints
from sandbox.telephony.inbound import Inbound
from sandbox.telephony.numbers import NumberBlock

__all__ = ["TEST_HEADER", "Switchboard"]

TEST_HEADER = "X-Sandbox-Test"
"""Carries the name of the test on the INVITEs of its calls."""


class Switchboard:
    """`sandbox.phone`: dials numbers, and has lines that can be called.

    Attributes:
        phone: the client underneath.
    """

    def __init__(
        self, phone: Phone, endpoints: Endpoints, numbers: NumberBlock, test: str = ""
    ) -> None:
        self.phone = phone
        #: The value of X-Sandbox-Test on INVITEs, also of `Sandbox.call_out`; "" sends none.
        self.test = re.sub(r"[^\x21-\x7e]+", "_", test)[:120]
        self._endpoints = endpoints
        self._numbers = numbers

    def moved(self, endpoints: Endpoints) -> None:
        """Dial the SIP service there from now on."""
        self._endpoints = endpoints

    async def line(self, number: str | None = None, **options: Any) -> Line:
        """A line with a SIP address of its own, that can be called; see `Phone.line`.

        Args:
            number: its number; a fresh one by default.
            options: as for `Phone.line`.
        """
        return await self.phone.line(number or self._numbers.take(), **options)

    async def dial(
        self, target: Inbound | str, *, caller: str | None = None, **options: Any
    ) -> Call:
        """Call a number; returns when the INVITE is on its way.

        The INVITE carries the test's name as X-Sandbox-Test, so that a call is found in the logs
        and the captures of a deployment that others use too.

        Args:
            target: what `Sandbox.inbound` made, a number, or a SIP URI.
            caller: the From user; a fresh number by default.
            options: as for `Line.dial`: `headers`, `to`, `credentials`, `codecs`, `tone`, ….

        Raises:
            PhoneError: the phone refused, or is gone.
        """
        uri = str(target)
        if not uri.startswith(("sip:", "sips:", "tel:")):
            uri = f"sip:{uri}@{self._endpoints.sip_address}"
        if self.test:
            headers = header_list(options.pop("headers", None))
            if all(name.lower() != TEST_HEADER.lower() for name, _ in headers):
                headers.append((TEST_HEADER, self.test))
            options["headers"] = headers
        return await self.phone.dial(
            uri, caller=self._numbers.take() if caller is None else caller, **options
        )

    async def reset(self) -> None:
        """End all calls and give all lines back."""
        await self.phone.reset()

    async def leaks(self) -> list[str]:
        """The calls that are still up."""
        return list(await self.phone.leaks())
