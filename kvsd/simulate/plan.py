"""
The plan of a run, drawn from its seed: the cluster, what goes wrong and when, and what clients do.

A plan is data.  It can be kept in a file, cut down, and run again; nothing but the plan decides a run.
"""

from collections.abc import Sequence
from random import Random
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from kvsd.simulate.tight import TIGHT, TIGHT_CONCERNS, TIGHT_INVITATIONS

Deed = Literal["get", "put", "delete", "watch", "take"]
Verb = Literal["add", "remove", "member", "reshard", "abort", "invite"]

SHAPES = {(2, 1): 1, (3, 1): 4, (4, 2): 5, (5, 2): 1, (6, 2): 1, (6, 3): 1}
"""How often clusters of so many nodes and shards are drawn: the cost of a run grows with the square of the nodes."""
_MIX: dict[Deed, int] = {"get": 12, "put": 5, "delete": 2}
_ORDERS: dict[Verb, int] = {"reshard": 5, "member": 3, "remove": 1, "add": 1, "abort": 1}
SELDOM = {"lost-majority": 0.15, "connecting-raises": 0.15, "second-process": 0.1, "copied-disk": 0.1}
"""Kinds of faults that happen once in so many of all runs, in the middle, and are not drawn as the others are."""
APART = {"slow-clocks": 0.3, "clock-jump": 0.3, "narrow-link": 0.2}
"""Kinds of faults that happen up to three times in so many of all runs, and are not drawn as the others are."""
CHANGING = 0.6
"""How many of all runs are about clusters that change."""
INVITING = 0.4
"""In how many of the runs about clusters that change operators add nodes that will never be there."""
CONCERNS = ("2", "majority", "majority", "all")
CONCERNED = 0.5
"""In how many of all runs clients ask for more replicas than one, in that share of their writes."""
KEYS = ("a", "b", "{a}c", "d", "e", "f")
"""Two of them share a slot."""
CLIENTS = 8
FOUNDING_SECONDS = 2.0


class Step(Struct, omit_defaults=True):
    """
    What a client does: after some seconds it asks a node for a deed on a key.

    ``watch`` reads until the key has another value than the client last saw; ``take`` has it carry the tokens of
    another client (``other``), beside its own or in their stead.  It waits ``patience`` seconds for an answer and
    makes so many ``tries``, all under one id where it is ``named``; ``w`` is the write concern that it asks for, empty
    for none.
    """

    after: float
    deed: Deed
    node: int = 0
    key: str = ""
    wait: float = 0.0
    patience: float = 3.0
    tries: int = 1
    named: bool = False
    other: int = 0
    instead: bool = False
    w: str = ""


class Fault(Struct, omit_defaults=True):
    """Something that goes wrong at a time, for some seconds, with some nodes; how bad it is means what its kind says."""

    kind: str
    at: float
    seconds: float
    nodes: tuple[int, ...] = ()
    degree: float = 0.0


class Order(Struct, omit_defaults=True):
    """
    What an operator asks of a node at a time: to ``add`` or ``remove`` another node (the target), to make it a
    ``member`` of the shard that has this place among all shards (the count), to ``reshard`` to a count, or to ``abort``
    that; or to ``invite`` a node that will never be there, one of some that differ by the count.
    """

    at: float
    verb: Verb
    node: int
    target: int = 0
    count: int = 0


class Plan(Struct, omit_defaults=True):
    """
    An episode of a run: the seed, the cluster, how many seconds things go wrong, the faults, a script for each client,
    and what operators ask.

    ``limits`` are those of the nodes that are not what they are by default; ``spares`` are nodes that join a cluster
    that others have founded.
    """

    seed: int
    nodes: int
    shards: int
    seconds: float
    limits: dict[str, int]
    faults: list[Fault]
    scripts: list[list[Step]]
    episode: int = 0
    spares: int = 0
    orders: list[Order] = []

    @property
    def concerned(self) -> bool:
        """Whether clients ask for more replicas than one."""
        return any(step.w for script in self.scripts for step in script)


def draw_plan(
    seed: int, kinds: Sequence[str], shape: tuple[int, int] | None = None, seconds: float = 30.0, episode: int = 0
) -> Plan:
    """
    The plan of a seed: so many seconds with faults of these kinds.

    The cluster has the shape (nodes and shards) that is given, or one that is drawn too.  A run may have several
    episodes, with a plan each.
    """
    name = f"{seed} {episode}"
    chance = Random(f"plan {name}")
    nodes, shards = shape or chance.choices(list(SHAPES), list(SHAPES.values()))[0]
    until = FOUNDING_SECONDS + seconds
    operator = Random(f"orders {seed}")
    changing = operator.random() < CHANGING
    spares = operator.choice([0, 1, 1, 2]) if changing else 0
    plan = Plan(
        seed=seed,
        nodes=nodes,
        shards=shards,
        seconds=until,
        limits={name: chance.choice(tight) for name, tight in TIGHT.items() if chance.random() < 0.4},
        faults=_with_seldom(name, kinds, nodes + spares, until),
        scripts=[
            *_scripts(name, nodes, until),
            *_probes(Random(f"probes {name}"), nodes, until),
            _repeats(Random(f"repeats {name}"), nodes, until),
        ],
        episode=episode,
        spares=spares,
        orders=_orders(Random(f"orders {name}"), nodes + spares, until) if changing else [],
    )
    if changing:
        plan = _with_invitations(plan, Random(f"invitations {name}"))
    return with_concerns(plan, Random(f"concerns {name}"))


def with_concerns(plan: Plan, chance: Random, share: float = CONCERNED) -> Plan:
    """The same plan, or one in which some clients want their writes to be at several replicas."""
    if chance.random() >= share:
        return plan

    def ask(step: Step) -> Step:
        concerned = step.deed in {"put", "delete"} and chance.random() < share
        return replace(step, w=chance.choice(CONCERNS)) if concerned else step

    return replace(
        plan,
        limits={**plan.limits, **{name: chance.choice(tight) for name, tight in TIGHT_CONCERNS.items()}},
        scripts=[[ask(step) for step in script] for script in plan.scripts],
    )


def _with_seldom(name: str, kinds: Sequence[str], nodes: int, until: float) -> list[Fault]:
    """All faults: those of kinds that happen seldom are drawn by themselves, so that all others stay as they are."""
    often = [kind for kind in kinds if kind not in SELDOM and kind not in APART]
    faults = _faults(Random(f"faults {name}"), often, nodes, until)
    for kind in (kind for kind in SELDOM if kind in kinds):
        chance = Random(f"{kind} {name}")
        if chance.random() < SELDOM[kind]:
            begun = chance.uniform(FOUNDING_SECONDS + 1, until / 2)
            some, degree = tuple(chance.sample(range(nodes), 2)), round(chance.random(), 3)
            tries = [round(begun + n, 3) for n in range(10) if begun + n < until]
            faults += [Fault(kind, at, round(min(10.0, until - at), 3), some, degree) for at in tries]
    return faults + [fault for kind in APART if kind in kinds for fault in _apart(kind, name, nodes, until)]


def _apart(kind: str, name: str, nodes: int, until: float) -> list[Fault]:
    """Some faults of one kind, in some of all runs."""
    chance = Random(f"{kind} {name}")
    times = chance.randint(1, 3) if chance.random() < APART[kind] else 0
    faults = []
    for _ in range(times):
        at, seconds = chance.uniform(0.0, until), chance.choice([2.0, 5.0, 12.0])
        some = tuple(chance.sample(range(nodes), min(nodes, 3)))
        faults.append(Fault(kind, round(at, 3), round(min(seconds, until - at), 3), some, round(chance.random(), 3)))
    return faults


def _faults(chance: Random, kinds: Sequence[str], nodes: int, until: float) -> list[Fault]:
    """Faults that overlap, of a few kinds that this run is about and some of all others."""
    if not kinds:
        return []
    about = chance.sample(kinds, min(len(kinds), chance.randint(2, 5)))
    faults = []
    now = chance.choice([0.0, FOUNDING_SECONDS, FOUNDING_SECONDS])
    while now < until:
        now += chance.expovariate(0.45)
        kind = chance.choice(about) if chance.random() < 0.7 else chance.choice(kinds)
        seconds = min(chance.choice([0.5, 2.0, 5.0, 12.0, 30.0]) * (0.5 + chance.random()), until - now)
        if seconds > 0:
            some = tuple(chance.sample(range(nodes), chance.choice([2, 2, 3]) if nodes > 2 else 2))
            faults.append(Fault(kind, round(now, 3), round(seconds, 3), some, round(chance.random(), 3)))
    return faults


def _orders(chance: Random, nodes: int, until: float) -> list[Order]:
    """What operators ask, often before what they asked last is done."""
    orders = []
    now, pause = FOUNDING_SECONDS, chance.choice([2.0, 5.0, 10.0])
    while (now := now + chance.expovariate(1 / pause)) < until:
        verb = chance.choices(list(_ORDERS), list(_ORDERS.values()))[0]
        target, count = chance.randrange(nodes), chance.choice([1, 2, 2, 3])
        orders.append(Order(round(now, 3), verb, chance.randrange(nodes), target, count))
    return orders


def _with_invitations(plan: Plan, chance: Random) -> Plan:
    """The same plan, or one in which nodes are invited that will never be there, and dropped after some seconds."""
    if chance.random() >= INVITING:
        return plan
    nodes = plan.nodes + plan.spares
    times = [round(chance.uniform(FOUNDING_SECONDS, plan.seconds), 3) for _ in range(chance.randint(1, 4))]
    invited = [Order(at, "invite", chance.randrange(nodes), count=chance.randint(1, 3)) for at in times]
    return replace(
        plan,
        limits={**plan.limits, **{name: chance.choice(tight) for name, tight in TIGHT_INVITATIONS.items()}},
        orders=sorted([*plan.orders, *invited], key=lambda order: order.at),
    )


def _scripts(name: str, nodes: int, until: float) -> list[list[Step]]:
    """What clients do that go their own ways."""
    return [_script(Random(f"client {name} {number}"), nodes, until) for number in range(CLIENTS)]


def _script(chance: Random, nodes: int, until: float) -> list[Step]:
    home, pause = chance.randrange(nodes), chance.choice([0.2, 0.5, 1.0, 2.0, 3.0])
    keys = chance.sample(KEYS, 3) if chance.random() < 0.5 else list(KEYS)
    patient = chance.choice([0.0, 0.0, 1.0, 3.0])
    steps: list[Step] = []
    now = FOUNDING_SECONDS
    while now < until:
        after = round(chance.expovariate(1 / pause), 4)
        now += after
        if chance.random() < 0.05:
            steps.append(Step(after, "take", other=chance.randrange(CLIENTS), instead=chance.random() < 0.3))
            continue
        if chance.random() < 0.03:
            home = chance.randrange(nodes)
        steps.append(
            Step(
                after,
                chance.choices(list(_MIX), list(_MIX.values()))[0],
                home if chance.random() < 0.8 else chance.randrange(nodes),
                chance.choice(keys),
                patient,
                chance.choice([0.3, 2.0, 5.0]),
                chance.choice([1, 1, 3]),
                chance.random() < 0.6,
            )
        )
    return steps


def _probes(chance: Random, nodes: int, until: float) -> list[list[Step]]:
    """
    Chains: one client writes x, another sees it and writes y, a third sees y and then reads x.

    Each works at a node of its own, on keys that nobody else writes.
    """
    first, second, third = (chance.randrange(nodes) for _ in range(3))
    writes: list[Step] = []
    answers: list[Step] = []
    reads: list[Step] = []
    now = FOUNDING_SECONDS
    while now < until:
        after = round(1 + 2 * chance.random(), 4)
        now += after
        writes.append(Step(after, "put", first, "x"))
        answers += [Step(0.02, "watch", second, "x", tries=15), Step(0.0, "put", second, "y")]
        reads += [Step(0.02, "watch", third, "y", tries=15), Step(0.0, "get", third, "x")]
    return [writes, answers, reads]


def _repeats(chance: Random, nodes: int, until: float) -> list[Step]:
    """A client of little patience: it tries a write until it is answered, and then reads the key at another node."""
    steps: list[Step] = []
    now = FOUNDING_SECONDS
    while now < until:
        after, patience = round(0.5 + chance.random(), 4), chance.choice([0.01, 0.1, 0.3])
        now += after
        steps.append(Step(after, "put", chance.randrange(nodes), "z", 0.0, patience, 20, named=True))
        steps.append(Step(0.0, "get", chance.randrange(nodes), "z", 0.0, 0.3, 5))
    return steps
