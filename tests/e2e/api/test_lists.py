"""ListSIPInboundTrunk, ListSIPOutboundTrunk, ListSIPDispatchRule and the old ListSIPTrunk."""

from __future__ import annotations

from typing import Any

from livekit import api

from sandbox import Sandbox


async def inbound(sandbox: Sandbox, **fields: Any) -> list[str]:
    """The ids that ListSIPInboundTrunk answers, in its order."""
    request = api.ListSIPInboundTrunkRequest(**fields)
    answer = await sandbox.api.sip.list_inbound_trunk(request)
    return [trunk.sip_trunk_id for trunk in answer.items]


async def outbound(sandbox: Sandbox, **fields: Any) -> list[str]:
    """The ids that ListSIPOutboundTrunk answers, in its order."""
    request = api.ListSIPOutboundTrunkRequest(**fields)
    answer = await sandbox.api.sip.list_outbound_trunk(request)
    return [trunk.sip_trunk_id for trunk in answer.items]


async def rules(sandbox: Sandbox, **fields: Any) -> list[str]:
    """The ids that ListSIPDispatchRule answers, in its order."""
    request = api.ListSIPDispatchRuleRequest(**fields)
    answer = await sandbox.api.sip.list_dispatch_rule(request)
    return [rule.sip_dispatch_rule_id for rule in answer.items]


async def old(sandbox: Sandbox, **page: Any) -> list[Any]:
    """What ListSIPTrunk answers."""
    request = api.ListSIPTrunkRequest(page=api.Pagination(**page))
    return list((await sandbox.sip("ListSIPTrunk", request)).items)


async def test_trunks_by_id_come_in_the_order_of_their_ids(sandbox: Sandbox) -> None:
    """trunk_ids: those that are there, sorted by id; an unknown one leaves no hole.

    The order asked for is not kept, other than the documentation of the API says. (S-API-12)
    """
    made = sorted([(await sandbox.trunk(numbers=[sandbox.number()])).sip_trunk_id for _ in "abc"])
    wanted = [made[2], "ST_unknown", made[0]]
    assert await inbound(sandbox, trunk_ids=wanted) == [made[0], made[2]]
    outs = sorted([(await sandbox.outbound_trunk("127.0.0.1:1")).sip_trunk_id for _ in "abc"])
    wanted = [outs[2], "ST_unknown", outs[0]]
    assert await outbound(sandbox, trunk_ids=wanted) == [outs[0], outs[2]]


async def test_rules_by_id_come_in_the_order_of_their_ids(sandbox: Sandbox) -> None:
    """dispatch_rule_ids: those that are there, sorted by id, without holes. (S-API-12)"""
    made = sorted([(await sandbox.inbound()).rule_id for _ in "abc"])
    wanted = [made[2], "SDR_unknown", made[0]]
    assert await rules(sandbox, dispatch_rule_ids=wanted) == [made[0], made[2]]


async def test_inbound_numbers_are_compared_normalized(sandbox: Sandbox) -> None:
    """numbers: a trunk's number is found without its plus, and with spaces and dashes in it.

    (S-API-12)
    """
    number = sandbox.number()
    trunk = await sandbox.trunk(numbers=[number])
    bare = number.removeprefix("+")
    for spelling in (
        number,
        bare,
        f"+{bare[:4]} ({bare[4:7]}) {bare[7:]}",
        f"{bare[:4]}-{bare[4:]}",
    ):
        assert await inbound(sandbox, numbers=[spelling]) == [trunk.sip_trunk_id]


async def test_outbound_numbers_are_compared_letter_by_letter(sandbox: Sandbox) -> None:
    """numbers of ListSIPOutboundTrunk: only the very spelling of the trunk is found. (S-API-12)"""
    number = sandbox.number()
    trunk = await sandbox.outbound_trunk("127.0.0.1:1", numbers=["+1", number])
    await sandbox.outbound_trunk("127.0.0.1:1", numbers=["+2"])
    assert await outbound(sandbox, numbers=[number]) == [trunk.sip_trunk_id]
    assert await outbound(sandbox, numbers=[number.removeprefix("+")]) == []


async def test_every_list_goes_on_after_an_id(sandbox: Sandbox) -> None:
    """page.after_id: what comes after it, in the order of the ids; page.limit changes nothing.

    A surprise of livekit-server v1.13.5: it fetches page by page until it has them all.
    (S-API-12)
    """
    ins = sorted([(await sandbox.trunk(numbers=[sandbox.number()])).sip_trunk_id for _ in "abc"])
    outs = sorted([(await sandbox.outbound_trunk("127.0.0.1:1")).sip_trunk_id for _ in "abc"])
    made = sorted([(await sandbox.rule(room=f"r{i}", trunk_ids=[ins[i]])).sip_dispatch_rule_id
                   for i in range(3)])  # fmt: skip

    async def trunks(**page: Any) -> list[str]:
        return await inbound(sandbox, page=api.Pagination(**page))

    async def outwards(**page: Any) -> list[str]:
        return await outbound(sandbox, page=api.Pagination(**page))

    async def dispatch(**page: Any) -> list[str]:
        return await rules(sandbox, page=api.Pagination(**page))

    for lister, ids in ((trunks, ins), (outwards, outs), (dispatch, made)):
        assert await lister(limit=1) == ids
        assert await lister(after_id=ids[0]) == ids[1:]
        assert await lister(after_id=ids[0], limit=1) == ids[1:]
        assert await lister(after_id=ids[2]) == []


async def test_the_old_list_has_trunks_of_both_directions(sandbox: Sandbox) -> None:
    """ListSIPTrunk merges inbound and outbound trunks and tells them by `kind`.

    An inbound trunk with one number has it as `outbound_number` there, which it is not: the name
    is that of the API before 2024. (S-API-21)
    """
    number = sandbox.number()
    ins = await sandbox.trunk(numbers=[number], name="in", metadata="m")
    out = await sandbox.outbound_trunk("127.0.0.1:1", numbers=["+1"], name="out")
    items = {trunk.sip_trunk_id: trunk for trunk in await old(sandbox, limit=1)}
    assert set(items) == {ins.sip_trunk_id, out.sip_trunk_id}
    kinds = api.SIPTrunkInfo.TrunkKind
    one, two = items[ins.sip_trunk_id], items[out.sip_trunk_id]
    assert (one.kind, one.name, one.metadata) == (kinds.TRUNK_INBOUND, "in", "m")
    assert one.outbound_number == number
    assert (two.kind, two.name) == (kinds.TRUNK_OUTBOUND, "out")
    assert (two.outbound_address, two.outbound_number) == ("127.0.0.1:1", "+1")


async def test_the_old_list_goes_on_after_an_id(sandbox: Sandbox) -> None:
    """ListSIPTrunk with page.after_id leaves out what comes before it. (S-API-21)"""
    ids = sorted([(await sandbox.trunk(numbers=[sandbox.number()])).sip_trunk_id for _ in "ab"])
    after = await old(sandbox, after_id=ids[0])
    assert [trunk.sip_trunk_id for trunk in after] == [ids[1]]
