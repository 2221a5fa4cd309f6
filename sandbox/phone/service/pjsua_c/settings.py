"""Settings of PJSIP that the binding does not have: codecs, account options, the TCP switch."""

from __future__ import annotations

import ctypes as c
from collections.abc import Mapping, Sequence

from sandbox.phone.service.pjsua_c.core import (
    P,
    PjStr,
    attempt,
    declare,
    pj_str,
    pjmedia_codec,
    pjsip,
    pjsua,
    pool_create,
    pool_release,
    text,
)

_codec_priority = declare(pjsua, "pjsua_codec_set_priority", c.c_int, c.POINTER(PjStr), c.c_uint8)
_enum_codecs = declare(pjsua, "pjsua_enum_codecs", c.c_int, P, c.POINTER(c.c_uint))
_acc_get = declare(pjsua, "pjsua_acc_get_config", c.c_int, c.c_int, P, P)
_acc_modify = declare(pjsua, "pjsua_acc_modify", c.c_int, c.c_int, P)
_g722_set_pcm_shift = declare(pjmedia_codec, "pjmedia_codec_g722_set_pcm_shift", c.c_int, c.c_uint)

_TCP_SWITCH = 16  # pjsip_cfg_t.endpt.disable_tcp_switch


def keep_udp(keep: bool) -> None:
    """Whether a request over 1300 bytes stays on UDP (RFC 3261 section 18.1.1 wants TCP)."""
    address = c.addressof(c.c_char.in_dll(pjsip, "pjsip_sip_cfg_var"))
    c.c_int.from_address(address + _TCP_SWITCH).value = int(keep)


def level_g722() -> None:
    """Have G722 neither louder nor quieter than the other codecs.

    By itself PJSIP sends half as loud and hears twice as loud: between two of its kind that cancels
    out. It moves samples by two bits, where livekit-sip, spandsp and FFmpeg move them by one.
    """
    attempt("pjmedia_codec_g722_set_pcm_shift", _g722_set_pcm_shift(1))


class _CodecInfo(c.Structure):
    _fields_ = (
        ("codec_id", PjStr), ("priority", c.c_uint8), ("desc", PjStr), ("buf", c.c_char * 64)
    )  # fmt: skip


def codecs() -> Sequence[str]:
    """The ids of the codecs compiled in, by priority: `PCMU/8000/1` and so on."""
    count = c.c_uint(32)
    infos = (_CodecInfo * 32)()
    attempt("pjsua_enum_codecs", _enum_codecs(infos, c.byref(count)))
    return [text(infos[i].codec_id) for i in range(count.value)]


def set_codec_priorities(names: Sequence[str]) -> None:
    """Offer and accept exactly the codecs `names` (`PCMU`, `G722`), in this order.

    Raises:
        ValueError: a name is not compiled in.
    """
    known = codecs()
    wanted: list[str] = []
    for name in names:
        match = [k for k in known if k.lower().startswith(f"{name.lower()}/")]
        if not match:
            raise ValueError(f"no codec {name!r}; there are {', '.join(known)}")
        wanted.append(match[0])
    for name in known:
        priority = 250 - wanted.index(name) if name in wanted else 0
        name_str = pj_str(name)
        attempt("pjsua_codec_set_priority", _codec_priority(c.byref(name_str), priority))


_ACC_SIZE = 4552
_ACC = {
    "require_100rel": 320,
    "use_timer": 324,
    "allow_contact_rewrite": 1524,
    "allow_via_rewrite": 1536,
    "use_rfc5626": 1544,
    "use_srtp": 2912,
    "srtp_secure_signaling": 2916,
}
_ACC_RTP_PORT, _ACC_RTP_BOUND = 1648, 1680


def set_account_options(
    account: int, *, rtp_address: str, rtp_port: int, options: Mapping[str, int] | None = None
) -> None:
    """Set what `AccountConfig` of the binding does not have.

    Args:
        account: its id.
        rtp_address: the address RTP and RTCP are bound to and advertised with.
        rtp_port: where PJSIP begins to look for a pair of free ports; even.
        options: integer fields of `pjsua_acc_config`, see `_ACC`.
    """
    pool = pool_create(b"account", 8192, 4096)
    config = c.create_string_buffer(_ACC_SIZE)
    attempt("pjsua_acc_get_config", _acc_get(account, pool, config))
    values = {
        "require_100rel": 0,
        "use_timer": 0,
        "allow_contact_rewrite": 0,
        "allow_via_rewrite": 0,
        "use_rfc5626": 0,
        **(options or {}),
    }
    for name, value in values.items():
        c.c_int.from_buffer(config, _ACC[name]).value = value
    c.c_uint.from_buffer(config, _ACC_RTP_PORT).value = rtp_port
    raw = c.create_string_buffer(rtp_address.encode())
    c.c_void_p.from_buffer(config, _ACC_RTP_BOUND).value = c.addressof(raw)
    c.c_ssize_t.from_buffer(config, _ACC_RTP_BOUND + 8).value = len(rtp_address)
    attempt("pjsua_acc_modify", _acc_modify(account, config))  # copies all it needs
    pool_release(pool)
