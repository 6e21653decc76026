"""
A cluster in a simulated world, put together from its parts.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kvsd.entries import entries, owner_entry, saved
from kvsd.replication.causality import VersionVector, join
from kvsd.replication.configuration import Configuration, founding_configuration
from kvsd.replication.effects import SetVector
from kvsd.replication.limits import Limits
from kvsd.replication.reading import ENTRY_BYTES
from kvsd.simulate.clock import Clock
from kvsd.simulate.invariants.clocks import RightClocks, StampsNearTime
from kvsd.simulate.invariants.collection import Collection
from kvsd.simulate.invariants.consensus import Votes
from kvsd.simulate.invariants.cuts import CausalCuts
from kvsd.simulate.invariants.delivery import Delivery
from kvsd.simulate.invariants.durability import Concerns, Durability, Stability
from kvsd.simulate.invariants.honesty import Bounds, Honesty
from kvsd.simulate.invariants.invitations import Invited
from kvsd.simulate.invariants.lasting import Lasting
from kvsd.simulate.invariants.promptness import Promptness
from kvsd.simulate.invariants.repair import Repair
from kvsd.simulate.invariants.repeats import Repeats
from kvsd.simulate.invariants.reshards import Chain, Covers, Debts, Roles
from kvsd.simulate.invariants.rows import Rows
from kvsd.simulate.invariants.stamps import Stamps
from kvsd.simulate.machine import Machine, World
from kvsd.simulate.monitor import Monitor
from kvsd.simulate.network import Network
from kvsd.simulate.plan import Plan
from kvsd.simulate.trace import Trace

INVARIANTS = (
    Delivery,
    CausalCuts,
    Durability,
    Stability,
    Lasting,
    Concerns,
    Stamps,
    StampsNearTime,
    RightClocks,
    Collection,
    Repair,
    Repeats,
    Promptness,
    Honesty,
    Bounds,
    Invited,
    Chain,
    Votes,
    Debts,
    Covers,
)
"""What is watched in every run, beside the rows."""
CACHE_BYTES = 4 * ENTRY_BYTES
"""So few rows are cached that most are read from the disk."""


class Cluster:
    """All that there is in a run: machines, a network between them, clients, and who watches."""

    def __init__(self, plan: Plan) -> None:
        self.clock = Clock()
        self.trace = Trace(self.clock)
        self.network = Network(self.clock, self.trace, f"{plan.seed} network")
        self.monitor = Monitor(self.trace, self.on_disk)
        self.rows = Rows(self.monitor)
        self.roles = Roles(self.monitor)
        self.monitor.watch_for(self.roles)
        for invariant in INVARIANTS:
            self.monitor.watch_for(invariant(self.monitor))
        self.monitor.watch_for(self.rows)
        addresses = [f"10.0.0.{number + 1}:8090" for number in range(plan.nodes + plan.spares)]
        self.founding = founding_configuration(addresses[: plan.nodes], plan.shards)
        counts: dict[str, Any] = plan.limits  # whose names are those of counts among the limits
        limits = replace(Limits(cache_bytes=CACHE_BYTES), **counts)
        world = World(self.clock, self.network, self.trace, self.monitor, self.founding, limits, str(plan.seed))
        self.machines = {address: Machine(world, address) for address in addresses}
        self._vectors: dict[tuple[str, bytes], tuple[bytes, dict[str, VersionVector]]] = {}

    def on_disk(self, address: str) -> Mapping[str, VersionVector]:
        """What a node's disk holds, as a vector for each shard; nothing, for a node that was never there."""
        if address not in self.machines:
            return {}
        meta = self.machines[address].disk.tables["meta"]
        found: dict[str, VersionVector] = {}
        for role in self.roles.known.get(address, ()):
            if (key := _ROLES + role) in meta:
                for shard, vector in self._vector(address, key, meta[key][0]).items():
                    join(found.setdefault(shard, {}), vector)
        return found

    @property
    def configuration(self) -> Configuration:
        """The latest configuration that any node goes by."""
        runs = [machine.run for machine in self.machines.values() if machine.run]
        known = [run.replica.state.configuration for run in runs if run.replica.state.configuration]
        return max(known, key=lambda configuration: configuration.epoch, default=self.founding)

    def _vector(self, address: str, key: bytes, value: bytes) -> dict[str, VersionVector]:
        """The vector in an entry; reading it anew each time would take most of a run."""
        known = self._vectors.get((address, key))
        if known is None or known[0] is not value:
            _, owner, owned = owner_entry(b"." * 16, address)
            assert owned is not None
            roles = saved([(owner, owned), (key, value)], [])[1].roles.values()
            known = self._vectors[address, key] = (value, {role.shard: role.vector for role in roles})
        return known[1]


_ROLES = next(key for _, key, _ in entries([SetVector(b"", "", {}, 0, 0)]))
"""What the keys of vectors begin with."""
