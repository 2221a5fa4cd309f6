"""Port blocks."""

from __future__ import annotations

import contextlib
import socket

from sandbox.stack.ports import PortBlock


def test_two_blocks_never_overlap() -> None:
    first, second = PortBlock(), PortBlock()
    try:
        assert abs(first.first - second.first) >= 500
    finally:
        first.release()
        second.release()


def test_a_port_in_use_is_passed_over() -> None:
    block = PortBlock()
    try:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
            taken.bind(("127.0.0.1", block.first + 1))
            assert block.take() == block.first + 2
    finally:
        block.release()


def test_a_released_block_can_be_taken_again() -> None:
    block = PortBlock()
    first = block.first
    block.release()
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind(("127.0.0.1", first))


def test_the_rtp_range_is_apart_from_the_single_ports() -> None:
    block = PortBlock()
    try:
        start, end = block.rtp_range
        assert start == block.first + 100
        assert end - start >= 399
    finally:
        block.release()
