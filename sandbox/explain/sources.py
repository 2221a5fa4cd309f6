"""Where trunks and rules come from: a deployment's API, or a JSON export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from livekit import api
from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from sandbox.errors import UsageError

__all__ = ["Deployment", "as_export", "fetch", "read_export"]

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What a call meets.

    Attributes:
        trunks: all inbound trunks.
        rules: all dispatch rules.
        rooms: the rooms that exist; None if that is not known.
        origin: where this was read, for the reader.
    """

    trunks: Sequence[SIPInboundTrunkInfo]
    rules: Sequence[SIPDispatchRuleInfo]
    rooms: frozenset[str] | None = None
    origin: str = ""


async def fetch(url: str, key: str, secret: str) -> Deployment:
    """Read a deployment through its API; the key needs `sip.admin` and `roomList`.

    Raises:
        UsageError: it did not answer, or refused.
    """
    client = api.LiveKitAPI(url, key, secret)
    try:
        trunks = await client.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())
        rules = await client.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())
        rooms = await client.room.list_rooms(api.ListRoomsRequest())
    except api.TwirpError as error:
        raise UsageError(
            f"{url} refused to list its trunks and rules",
            seen=[f"HTTP {error.status} {error.code} {error.message}".strip()],
            remedy="check LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
        ) from error
    except OSError as error:
        raise UsageError(
            f"{url} does not answer", seen=[str(error)], remedy="check LIVEKIT_URL"
        ) from error
    finally:
        await client.aclose()
    return Deployment(
        trunks=list(trunks.items),
        rules=list(rules.items),
        rooms=frozenset(room.name for room in rooms.rooms),
        origin=url,
    )


_TRUNKS = ("trunks", "inbound_trunks", "inboundTrunks", "sip_inbound_trunks")
_RULES = ("rules", "dispatch_rules", "dispatchRules", "sip_dispatch_rules")


def read_export(path: Path) -> Deployment:
    """Read trunks and rules from JSON.

    It is an object with `trunks` and `rules` (and `rooms`, names, if they are known), each a list
    or what the API's List methods and `lk sip … list --json` answer, `{"items": […]}`; or just a
    list of both, told apart by their fields. camelCase and snake_case are read.

    Raises:
        UsageError: it is no such JSON.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}", seen=[str(error)]) from error
    if isinstance(data, list):
        entries = [_unwrapped(entry) for entry in data]
        trunks = [entry for entry in entries if not _is_rule(entry)]
        rules = [entry for entry in entries if _is_rule(entry)]
    elif isinstance(data, Mapping):
        trunks, rules = _items(data, _TRUNKS), _items(data, _RULES)
        if not trunks and not rules and not any(key in data for key in (*_TRUNKS, *_RULES)):
            raise UsageError(
                f"{path} has neither trunks nor rules",
                seen=[f"it has {', '.join(map(str, data)) or 'nothing'}"],
                remedy='write {"trunks": […], "rules": […]}',
            )
    else:
        raise UsageError(f"{path} is no JSON object or list")
    names = data.get("rooms") if isinstance(data, Mapping) else None
    return Deployment(
        trunks=[_parse(entry, SIPInboundTrunkInfo(), path) for entry in trunks],
        rules=[_parse(entry, SIPDispatchRuleInfo(), path) for entry in rules],
        rooms=frozenset(map(str, names)) if isinstance(names, list) else None,
        origin=str(path),
    )


def as_export(deployment: Deployment, *, secrets: bool = False) -> str:
    """A deployment as JSON that `read_export` reads; passwords are left out unless asked for."""
    trunks = [MessageToDict(t, preserving_proto_field_name=True) for t in deployment.trunks]
    for trunk in trunks:
        if "auth_password" in trunk and not secrets:
            trunk["auth_password"] = "(left out)"
    rules = [MessageToDict(r, preserving_proto_field_name=True) for r in deployment.rules]
    data: dict[str, Any] = {"trunks": trunks, "rules": rules}
    if deployment.rooms is not None:
        data["rooms"] = sorted(deployment.rooms)
    return json.dumps(data, indent=2, ensure_ascii=False)


def _items(data: Mapping[str, Any], keys: Sequence[str]) -> list[Mapping[str, Any]]:
    for key in keys:
        if key in data:
            value = data[key]
            if isinstance(value, Mapping):
                value = value.get("items", [])
            return [_unwrapped(entry) for entry in value or []]
    return []


def _unwrapped(entry: Any) -> Mapping[str, Any]:
    """An entry without the wrapper of a Create request."""
    if not isinstance(entry, Mapping):
        raise UsageError(f"{entry!r} is neither a trunk nor a rule")
    for key in ("trunk", "dispatch_rule", "dispatchRule"):
        inner = entry.get(key)
        if isinstance(inner, Mapping):
            return inner
    return entry


def _is_rule(entry: Mapping[str, Any]) -> bool:
    return any(
        key in entry
        for key in ("rule", "sip_dispatch_rule_id", "sipDispatchRuleId", "trunk_ids", "trunkIds")
    )


def _parse(entry: Mapping[str, Any], into: _M, path: Path) -> _M:
    try:
        return ParseDict(dict(entry), into, ignore_unknown_fields=True)
    except ParseError as error:
        raise UsageError(
            f"{path} has a {type(into).__name__} that does not parse", seen=[str(error)[:200]]
        ) from error
