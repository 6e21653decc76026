"""
How far a reshard is: what the members of its shards count, and what this node knows of them.
"""

from kvsd.node import Node
from kvsd.oversight import Stretch
from kvsd.replication.requests import Counted, CountKeys

Fields = dict[str, object]


async def describe_reshard(node: Node) -> Fields | None:
    """The reshard that is under way, with its moves; None if there is none."""
    stretches = node.oversight.stretches()
    if not stretches and not node.oversight.is_pending():
        return None
    described = node.oversight.reshard()
    moves = [await _describe(node, stretch, described["seconds"]) for stretch in stretches]
    rows, expected = (sum(int(move[name] or 0) for move in moves) for name in ("rows", "rows-expected"))  # type: ignore[call-overload]
    return {
        **described,
        "moves": moves,
        "rows": rows,
        "rows-expected": expected,
        **_pace(rows, expected, described["seconds"]),
    }


async def _describe(node: Node, stretch: Stretch, seconds: object) -> Fields:
    there = await node.ask(CountKeys(stretch.target, stretch.slots, stretch.tenure))
    here = await node.ask(CountKeys(stretch.source, stretch.slots)) if stretch.pending else there
    rows = there.count if isinstance(there, Counted) else 0
    expected = here.count if isinstance(here, Counted) else None
    return {
        "tenure": stretch.tenure,
        "from": stretch.source,
        "to": stretch.target,
        "slots": len(stretch.slots),
        "rows": rows,
        "rows-expected": expected,
        "bytes": there.bytes if isinstance(there, Counted) else 0,
        "lag": node.oversight.lag(stretch),
        "stage": node.oversight.stage(stretch),
        "blocker": node.oversight.blocker(stretch),
        **_pace(rows, expected, seconds),
    }


def _pace(rows: int, expected: int | None, seconds: object) -> Fields:
    """Rows a second since the reshard began, and how many seconds the rest will take at that rate."""
    rate = rows / seconds if isinstance(seconds, float) and seconds > 0 else None
    left = max(0, expected - rows) if expected is not None else None
    eta = None if not rate or left is None else round(left / rate, 1)
    return {"rate": round(rate, 1) if rate is not None else None, "eta-s": eta}
