"""ctypes on the PJSIP libraries inside the pjsua2-pybind11 wheel: what the binding leaves out.

The binding (0.1a3, PJSIP 2.14.1) has no event loop call, no audio but a sound card, no codec
priorities, no stream statistics, no account media options and no view of the messages that the
transport sees. The shared libraries that it loads export all of that, so it is reached here, in
the same process, on the same state. The offsets in this package were printed by `offsets.c`,
compiled against pjproject 2.14.1 with an empty `config_site.h` on x86-64 Linux, which is how the
wheel was built; `check` refuses any other version.

Everything here must be called from the one thread that owns PJSIP in this process.
"""

from sandbox.phone.service.pjsua_c.audio import StreamPort, no_sound_card, set_dtmf_duration
from sandbox.phone.service.pjsua_c.core import CommandSocket, PjError, check, handle_events, quiet
from sandbox.phone.service.pjsua_c.headers import StaleHeaders, send_request
from sandbox.phone.service.pjsua_c.settings import (
    codecs,
    keep_udp,
    level_g722,
    set_account_options,
    set_codec_priorities,
)
from sandbox.phone.service.pjsua_c.sip import Message, Tap
from sandbox.phone.service.pjsua_c.stats import (
    StreamInfo,
    StreamStats,
    media_source,
    stream_info,
    stream_stats,
)
from sandbox.phone.service.pjsua_c.transport import PacketTap

__all__ = [
    "CommandSocket",
    "Message",
    "PacketTap",
    "PjError",
    "StaleHeaders",
    "StreamInfo",
    "StreamPort",
    "StreamStats",
    "Tap",
    "check",
    "codecs",
    "handle_events",
    "keep_udp",
    "level_g722",
    "media_source",
    "no_sound_card",
    "quiet",
    "send_request",
    "set_account_options",
    "set_codec_priorities",
    "set_dtmf_duration",
    "stream_info",
    "stream_stats",
]
