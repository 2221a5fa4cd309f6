"""The API coverage meter: which fields of the SIP API a run really used.

What there is to cover is read from the protobuf descriptors of livekit-protocol, so a new field
shows up by itself as not covered. What was used is read from the `api.request` events and from
the attributes of the SIP participants on the timeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from livekit.protocol import sip

from sandbox.timeline import Event

__all__ = ["ATTRIBUTES", "CLOUD_ONLY", "ApiCoverage", "Table", "universe"]

#: Fields that only LiveKit Cloud acts on; a self-hosted livekit-server stores or ignores them.
CLOUD_ONLY = (
    "CreateSIPParticipant.destination",
    "CreateSIPParticipant.trunk.destination_country",
    "CreateSIPOutboundTrunk.trunk.destination_country",
    "UpdateSIPOutboundTrunk.replace.destination_country",
    "UpdateSIPOutboundTrunk.update.destination_country",
)

#: Fields that a response fills and a request never carries with an effect.
_OUTPUT_ONLY = ("created_at", "updated_at")

#: The attribute keys that livekit-sip gives a SIP participant, by itself.
ATTRIBUTES = (
    "sip.callID",
    "sip.callIDFull",
    "sip.callStatus",
    "sip.callTag",
    "sip.hostname",
    "sip.phoneNumber",
    "sip.ruleID",
    "sip.trunkID",
    "sip.trunkPhoneNumber",
    "sip.twilio.accountSid",
    "sip.twilio.callSid",
    "sip.telnyx.callLegID",
    "sip.telnyx.callSessionID",
    "sip.amazon.contactId",
    "sip.amazon.initialContactId",
    "sip.amazon.sourceAccount",
    "sip.amazon.sourceArn",
    "sip.amazon.targetArn",
    "lktest.id",
)

#: Messages that are opened no further: they belong to other APIs, or are single values.
_LEAVES = (
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "livekit.RoomEgress",
    "livekit.RoomAgentDispatch",
)

_STATUSES = ("dialing", "ringing", "automation", "active", "hangup")


def _fields(message: Descriptor, prefix: str, seen: tuple[str, ...]) -> Iterator[str]:
    for item in message.fields:
        name = f"{prefix}.{item.name}"
        if item.name in _OUTPUT_ONLY:
            continue
        kind = item.message_type
        if (
            kind is None
            or kind.GetOptions().map_entry
            or kind.full_name in _LEAVES
            or kind.full_name in seen
        ):
            yield name
        else:
            yield from _fields(kind, name, (*seen, kind.full_name))


def _enums(message: Descriptor, seen: set[str]) -> Iterator[EnumDescriptor]:
    for item in message.fields:
        if item.enum_type is not None:
            yield item.enum_type
        kind = item.message_type
        if kind is not None and kind.full_name not in (*_LEAVES, *seen):
            seen.add(kind.full_name)
            yield from _enums(kind, seen)


def universe() -> dict[str, list[str]]:
    """What there is to cover, by section: methods, fields, enums, attributes and so on."""
    methods: list[str] = []
    fields: list[str] = []
    enums: dict[str, None] = {}
    for method in sip.DESCRIPTOR.services_by_name["SIP"].methods:
        methods.append(method.name)
        fields += _fields(method.input_type, method.name, ())
        for item in _enums(method.input_type, set()):
            for value in item.values:
                enums[f"{item.name}.{value.name}"] = None
    kinds = sip.SIPDispatchRule.DESCRIPTOR.oneofs_by_name["rule"].fields
    return {
        "methods": methods,
        "fields": fields,
        "rule kinds": [kind.name for kind in kinds],
        "enums": list(enums),
        "attributes": list(ATTRIBUTES),
        "call statuses": list(_STATUSES),
    }


@dataclass(frozen=True, slots=True)
class Table:
    """One section of the meter.

    Attributes:
        section: its name.
        covered: what was used.
        missing: what was not, without what only LiveKit Cloud serves.
        cloud: what only LiveKit Cloud serves.
    """

    section: str
    covered: Sequence[str]
    missing: Sequence[str]
    cloud: Sequence[str] = ()

    @property
    def percent(self) -> float:
        """The covered part of what can be covered, in per cent."""
        total = len(self.covered) + len(self.missing)
        return 100.0 if not total else 100.0 * len(self.covered) / total


@dataclass
class ApiCoverage:
    """Collects what was used; merge the collections of several workers with `|=`."""

    used: dict[str, set[str]] = field(default_factory=dict)

    def _use(self, section: str, name: str) -> None:
        self.used.setdefault(section, set()).add(name)

    def observe(self, event: Event) -> None:
        """Take note of an event of the timeline."""
        if event.name == "api.request" and str(event.data["method"]).startswith("SIP/"):
            method = str(event.data["method"]).removeprefix("SIP/")
            self._use("methods", method)
            if isinstance(event.data["message"], Mapping):
                self._request(method, event.data["message"], (method,))
        elif event.name.startswith("webhook.participant_"):
            self._attributes(event.data.get("participant", {}).get("attributes", {}))
        elif event.name == "room.participant_connected":
            self._attributes(event.data["attributes"])
        elif event.name == "room.attributes":
            self._attributes(event.data["changed"])

    def _request(self, method: str, value: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for key, item in value.items():
            where = (*path, key)
            self._use("fields", ".".join(where))
            if key.startswith("dispatch_rule_"):
                self._use("rule kinds", key)
            for part in item if isinstance(item, list) else [item]:
                if isinstance(part, Mapping):
                    self._request(method, part, where)
                elif isinstance(part, str):
                    self._use("words", part)

    def _attributes(self, attributes: Mapping[str, str]) -> None:
        for key, value in attributes.items():
            self._use("attributes", key)
            if key == "sip.callStatus":
                self._use("call statuses", value)

    def to_json(self) -> dict[str, list[str]]:
        """What was used, for another process."""
        return {section: sorted(names) for section, names in self.used.items()}

    def merge(self, other: Mapping[str, Iterable[str]]) -> None:
        """Add what another process used."""
        for section, names in other.items():
            self.used.setdefault(section, set()).update(names)

    def tables(self) -> list[Table]:
        """What is covered and what is not, section by section."""
        found = []
        for section, names in universe().items():
            if section == "enums":
                words = self.used.get("words", set())
                # A zero value is never on the wire: it is used by leaving the field out.
                covered = [n for n in names if n in _DEFAULTS or n.partition(".")[2] in words]
            else:
                covered = [n for n in names if n in self.used.get(section, set())]
            rest = [name for name in names if name not in covered]
            cloud = [name for name in rest if name.startswith(CLOUD_ONLY)]
            found.append(
                Table(section, covered, [name for name in rest if name not in cloud], cloud)
            )
        return found

    @property
    def percent(self) -> float:
        """The one figure: covered fields of requests, in per cent."""
        return next(table for table in self.tables() if table.section == "fields").percent


_DEFAULTS = {
    f"{item.name}.{item.values_by_number[0].name}"
    for method in sip.DESCRIPTOR.services_by_name["SIP"].methods
    for item in _enums(method.input_type, set())
}
