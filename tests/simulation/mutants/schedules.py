"""
Schedules that defects are looked for in: those that anybody draws, and some in which the cluster changes all the time.
"""

from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from kvsd.simulate.plan import FOUNDING_SECONDS, Order, Plan, Verb, draw_plan

SHAPES = ((4, 2), (5, 2), (6, 2), (6, 3))
LIMITS = ("page_rows", "page_bytes", "log_bytes", "log_drops", "collected")
"""The limits that may be tight; of requests that were carried out all is remembered."""
VERBS: tuple[Verb, ...] = ("reshard", "reshard", "reshard", "reshard", "member", "remove", "abort")


def restless_plan(seed: int, kinds: Sequence[str]) -> Plan:
    """The plan of a seed, in a cluster of several shards that is resharded, joined and left all the time."""
    chance = Random(f"restless {seed}")
    nodes, shards = chance.choice(SHAPES)
    plan = draw_plan(seed, kinds, (nodes, shards))
    return replace(
        plan,
        spares=1,
        limits={name: limit for name, limit in plan.limits.items() if name in LIMITS},
        faults=[fault for fault in plan.faults if max(fault.nodes) <= nodes and chance.random() < 0.7],
        orders=_orders(chance, nodes + 1, shards, plan.seconds),
    )


def _orders(chance: Random, nodes: int, shards: int, until: float) -> list[Order]:
    """A reshard whenever the last one may have been handed off, and members that come and go meanwhile."""
    orders, now, counts = [], FOUNDING_SECONDS, list(range(1, nodes // 2 + 1))
    count = shards
    while (now := now + chance.uniform(0.5, 4.0)) < until:
        at, node, target = round(now, 3), chance.randrange(nodes), chance.randrange(nodes)
        verb = chance.choice(VERBS)
        if verb in ("reshard", "abort"):
            count = chance.choice([other for other in counts if other != count] or counts)
        if verb == "abort":
            orders.append(Order(at, "reshard", node, target, count))
            at = round(at + chance.uniform(0.1, 0.5), 3)
        orders.append(Order(at, verb, node, target, count))
        if verb == "remove":
            orders.append(Order(round(at + chance.uniform(0.5, 4.0), 3), "add", (target + 1) % nodes, target))
    return sorted(orders, key=lambda order: order.at)
