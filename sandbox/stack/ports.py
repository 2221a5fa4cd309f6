"""Free loopback ports: a block for each stack, held by a lock that dies with its owner."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

from sandbox.errors import StackError

__all__ = ["PortBlock", "is_free"]

# Below the kernel's ephemeral range (32768 upwards on Linux), so that no outgoing connection
# takes a port between our check and the child's bind.
_FIRST, _LAST, _SIZE = 12000, 32500, 500


class PortBlock:
    """A run of ports of one address, for one stack.

    The block's first port stays bound and listening in this process for as long as the block is
    held: two stacks can never get the same block, and nothing needs to be cleaned up when the
    owner is killed.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        """Take a free block.

        Raises:
            StackError: no block is free.
        """
        self.host = host
        starts = list(range(_FIRST, _LAST - _SIZE + 1, _SIZE))
        random.shuffle(starts)
        for start in starts:
            guard = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                guard.bind((host, start))
                guard.listen(1)
            except OSError:
                guard.close()
                continue
            self._guard = guard
            self.first = start
            self._ports = self._free_ports(start)
            return
        raise StackError(
            f"no free block of {_SIZE} ports on {host} between {_FIRST} and {_LAST}",
            cause="many stacks are running, or another program listens on these ports",
            remedy="end other runs (`sandbox status`, `sandbox down`), then try again",
        )

    def _free_ports(self, start: int) -> Iterator[int]:
        for port in range(start + 1, start + 100):
            if is_free(self.host, port):
                yield port

    def take(self) -> int:
        """The next port of the block that is free for both UDP and TCP.

        Raises:
            StackError: the block is used up.
        """
        port = next(self._ports, None)
        if port is None:
            raise StackError(
                f"no free port left in {self.first}-{self.first + 99} on {self.host}",
                remedy="see which program holds them: ss -ltnup",
            )
        return port

    @property
    def rtp_range(self) -> tuple[int, int]:
        """First and last port for RTP, 400 of them: 200 calls, as livekit-sip uses even ones."""
        return self.first + 100, self.first + _SIZE - 1

    def release(self) -> None:
        """Give the block back."""
        self._guard.close()


def is_free(host: str, port: int) -> bool:
    """Whether nobody has `port` of `host`, neither for UDP nor for TCP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with contextlib.closing(socket.socket(socket.AF_INET, kind)) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
