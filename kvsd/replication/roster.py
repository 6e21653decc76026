"""
The roster: what follows from a configuration, worked out once when it is adopted.
"""

from collections.abc import Sequence
from functools import cached_property

from kvsd.replication.causality import Writer
from kvsd.replication.configuration import Configuration, Member, Move, Shard, addresses
from kvsd.replication.placement import Tenure, TenureSlot, address_order, slot_of
from kvsd.replication.record import Record

_NONE = Shard()


class Roster:
    """Who is who, and what is where, in one configuration; ``me`` is this node's address and instance."""

    def __init__(self, configuration: Configuration, me: tuple[str, bytes]) -> None:
        self.configuration = configuration
        everyone = list(configuration.everyone())
        self.writers: dict[Writer, Member] = {member.writer: member for member in everyone if member.instance}
        """All members, learners and departed whose instance is known."""
        self.places: dict[str, Member] = {m.shard: m for m in everyone if (m.node, m.instance) == me}
        """This node's places, by shard."""
        self.is_placed = configuration.nodes.get(me[0]) == me[1] and configuration.member(me[0]) is not None
        """Whether this node is of the cluster, and has a place in a shard that owns slots, be it a learner's."""
        self.writer_of: dict[tuple[str, str], Writer] = {}
        """The writer that a node is in a shard, where that is known."""
        self.writers_of: dict[str, dict[str, Writer]] = {}
        """The writers that each node is, by shard."""
        for writer, member in self.writers.items():
            self.writer_of.setdefault((member.node, member.shard), writer)
            self.writers_of.setdefault(member.node, {})[member.shard] = writer
        self._members = {name: addresses(shard.members) for name, shard in configuration.shards.items()}
        self.audience = {
            name: [address for address in addresses(shard.replicas()) if address != me[0]]
            for name, shard in configuration.shards.items()
        }
        """The addresses of the other replicas of each shard, learners among them, sorted numerically."""
        self.served = {shard for shard, member in self.places.items() if member in self.shard(shard).members}
        """The shards of which this node is a member, and not a learner or departed."""
        self.slots = configuration.slots
        """For each slot its tenure."""
        self.owners = {tenure: (tenure, tenancy.shard) for tenure, tenancy in configuration.tenures.items()}
        """For each tenure itself, and the shard that owns its slots."""
        self._genuine = {(node, instance) for node, instance in configuration.nodes.items() if instance}
        self._genuine |= {(member.node, member.instance) for member in everyone if member.instance}
        self._kept = configuration.kept_tenures()
        self._moving = {slot: move for move in self.moves for slot in move.slots}
        self._importers = {name: configuration.importers(name) for name in configuration.shards}

    @property
    def moves(self) -> Sequence[Move]:
        """What is on its way."""
        return self.configuration.pending.moves if self.configuration.pending else ()

    # Who

    def shard(self, name: str) -> Shard:
        """Who replicates a shard; nobody, for an unknown one."""
        return self.configuration.shards.get(name, _NONE)

    def members(self, shard: str) -> list[str]:
        """The addresses of a shard's members."""
        return self._members.get(shard, [])

    def is_genuine(self, address: str, instance: bytes) -> bool:
        """Whether this instance belongs to the address, or did and may still have something to say."""
        return (address, instance) in self._genuine

    @cached_property
    def invited(self) -> set[str]:
        """The addresses at which no node was heard yet."""
        return self.configuration.invited()

    @cached_property
    def everyone(self) -> list[str]:
        """The addresses of all nodes, and of those that are no more and may still have something to say."""
        nodes = {*self.configuration.nodes, *(member.node for member in self.writers.values())}
        return sorted(nodes, key=address_order)

    # What

    @property
    def tenures(self) -> set[Tenure]:
        """The tenures of which records and marks may still be needed."""
        return self._kept

    def importers(self, shard: str) -> list[tuple[str, Tenure, int]]:
        """Who takes over writes of a shard: shard, tenure, and the epoch since when."""
        return self._importers.get(shard, [])

    @cached_property
    def owned(self) -> dict[str, list[TenureSlot]]:
        """For each shard its slots, each with its tenure."""
        owned: dict[str, list[TenureSlot]] = {}
        for slot, tenure in enumerate(self.configuration.slots):
            owned.setdefault(self.configuration.tenures[tenure].shard, []).append((tenure, slot))
        return owned

    def keeps(self, shard: str, tenure: Tenure, slot: int) -> bool:
        """Whether a replica of a shard can still need the records of a slot that were written during a tenure."""
        if tenure not in self._kept:
            return False
        present = self.configuration.slots[slot]
        if tenure == present:
            return True
        move = self._moving.get(slot)
        if move and (tenure in move.lineage or (tenure, shard) == (move.tenure, move.target)):
            return True
        tenancy = self.configuration.tenures[present]
        return bool(tenancy.sources) and tenure in tenancy.lineage

    def concerns(self, tenure: Tenure, record: Record) -> bool:
        """Whether a record of another shard is one of those that a tenure takes over."""
        slot = slot_of(record.key)
        move = self._moving.get(slot)
        if move and move.tenure == tenure:
            return record.tenure in move.lineage
        return self.configuration.slots[slot] == tenure and record.tenure in self.configuration.tenures[tenure].lineage

    def tenure_of(self, slot: int) -> Tenure:
        """The tenure that a slot is part of, or will be."""
        move = self._moving.get(slot)
        return move.tenure if move else self.configuration.slots[slot]

    def is_present(self, tenure: Tenure, record: Record) -> bool:
        """Whether a record is a present version of a slot that is to become part of a tenure."""
        slot = slot_of(record.key)
        move = self._moving.get(slot)
        return move is not None and move.tenure == tenure and record.tenure == self.configuration.slots[slot]
