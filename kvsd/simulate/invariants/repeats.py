"""
Repeats: a request that is tried again is carried out once by all who know of it, and always as the same version where
a node sent it on of its own accord.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from kvsd.replication.effects import Keep, LogOp, SetVector
from kvsd.replication.messages import Message, PullRows, Sender
from kvsd.replication.record import Op, Record
from kvsd.replication.replica import Replica
from kvsd.replication.saved import Saved
from kvsd.simulate.monitor import Invariant, Monitor, Vector

MINTED = re.compile(r"[0-9a-f]{16}-[0-9a-f]+-[0-9]+")
"""The ids that nodes give to what they send on; those of clients look otherwise."""

Dot = tuple[bytes, int]
Request = tuple[str, str]
"""The key and the id of a request."""
Deed = tuple[str, str, bytes]
"""What a request with an id did: the key and the value; or the key and the id, where it deleted."""

MANY = 1_000
"""Copies that bring fewer requests may leave some out, as the puller goes on meanwhile."""


class Repeats(Invariant):
    """Keeps its own account of the ops that came of requests with an id, and of who has seen which."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(monitor)
        self._seen: dict[tuple[Replica, bytes], dict[bytes, int]] = {}
        self._deeds: dict[Dot, Deed] = {}
        self._dots: defaultdict[Deed, set[Dot]] = defaultdict(set)
        self._requests: dict[Dot, Request] = {}
        self._stamps: dict[str, int] = {}
        self._named: Counter[str] = Counter()
        """How many ops came of requests with an id, by shard; or may have, of what was taken over."""
        self._taken_over: set[Dot] = set()
        self._forgetful: set[str] = set()
        """The shards in which a copy may have left out requests."""
        self._patchy: set[str] = set()
        """The shards in which a copy that brings few requests was taken."""

    def started(self, replica: Replica, saved: Saved) -> None:
        """What a replica had seen, it has seen; its disk remembers the requests behind that."""
        instances = {address: instance for address, (instance, _) in saved.bindings.items()}
        for writer, role in saved.roles.items():
            self._seen[replica, writer] = dict(role.vector)
            if saved.configuration and writer not in {
                m.writer for m in saved.configuration.bound(instances).everyone()
            }:
                continue  # it is being forgotten
            found = {_name(request.record) for _, request in role.requests}
            if self._is_remembered(replica, role.shard) and role.shard not in self._patchy:
                self._expect(replica, role.shard, {}, role.vector, found)

    def hears(self, replica: Replica, sender: Sender, messages: Sequence[Message]) -> None:
        """A copy of rows brings the requests along that led to them."""
        for message in messages:
            if isinstance(message, PullRows) and not message.cursor and message.shard in replica.state.roles:
                vector = replica.state.roles[message.shard].vector
                if self._is_remembered(replica, message.shard) and not self._are_many(replica, message.shard):
                    found = {_name(request.record) for request in message.requests}
                    self._expect(replica, message.shard, vector, message.vector, found)
                if replica.state.limits.page_requests < MANY:
                    self._patchy.add(message.shard)

    def _expect(self, replica: Replica, shard: str, since: Vector, until: Vector, found: set[Request]) -> None:
        """Every request behind what is between two vectors is to be among those found, or behind the first vector."""
        behind = {name for (writer, n), name in self._requests.items() if n <= since.get(writer, 0)}
        for (writer, counter), name in self._requests.items():
            if since.get(writer, 0) < counter <= until.get(writer, 0) and name not in found | behind:
                me = replica.state.identity.address
                text = f"{me} has {shard} {writer.hex()}:{counter} and knows nothing of the request {name} behind it"
                self.accuse("requests-remembered", text)
                return

    def wrote(self, replica: Replica, position: int, changes: Sequence[Keep]) -> None:
        """Ops are applied, and vectors follow or jump."""
        for change in changes:
            match change:
                case LogOp(role, _, op):
                    self._applied(replica, role, op)
                case SetVector(role, shard, vector):
                    jump = sum(vector.values()) - sum(self._seen.get((replica, role), {}).values())
                    if jump > 0 and self._are_many(replica, shard):
                        self._forgetful.add(shard)
                    self._seen[replica, role] = dict(vector)
                case _:
                    pass

    def _applied(self, replica: Replica, role: bytes, op: Op) -> None:
        seen = self._seen.setdefault((replica, role), {})
        deed = _deed(op) if op.is_own and op.record.request else None
        if deed and op.writer == role and self._is_remembered(replica, op.shard):
            self._look_for_earlier(replica, op, deed, seen)
        self._take_down(op, deed)
        if not op.is_own and (op.writer, op.counter) not in self._taken_over:
            self._taken_over.add((op.writer, op.counter))
            self._named[op.shard] += len(op.records) + len(op.requests)
        for record in op.records:
            self._compare_stamps(replica, op, record)
        seen[op.writer] = op.counter

    def _are_many(self, replica: Replica, shard: str) -> bool:
        """Whether there may be more requests than a copy brings along."""
        return self._named[shard] > replica.state.limits.page_requests

    def _is_remembered(self, replica: Replica, shard: str) -> bool:
        """Whether no request can have been forgotten yet for the sake of newer ones."""
        return shard not in self._forgetful and self._named[shard] <= replica.state.limits.requests

    def _look_for_earlier(self, replica: Replica, op: Op, deed: Deed, seen: dict[bytes, int]) -> None:
        for writer, counter in sorted(self._dots[deed]):
            if seen.get(writer, 0) >= counter:
                self._complain(
                    "carried-out-twice", replica, op, f"it had seen {writer.hex()}:{counter}, the same write"
                )

    def _take_down(self, op: Op, deed: Deed | None) -> None:
        """A dot that a crash took back before it was durable may name another write afterwards."""
        dot = (op.writer, op.counter)
        before = self._deeds.get(dot)
        if before == deed:
            return
        if before:
            self._dots[before].discard(dot)
            del self._deeds[dot], self._requests[dot]
        if deed:
            self._named[op.shard] += 1
            self._deeds[dot], self._requests[dot] = deed, _name(op.record)
            self._dots[deed].add(dot)

    def _compare_stamps(self, replica: Replica, op: Op, record: Record) -> None:
        request, stamp = record.request, record.hlc
        if MINTED.fullmatch(request) and (known := self._stamps.setdefault(request, stamp)) != stamp:
            self._complain("one-stamp", replica, op, f"another try of the request {request} has the stamp {known}")

    def _complain(self, rule: str, replica: Replica, op: Op, why: str) -> None:
        address, record = replica.state.identity.address, op.records[0]
        what = f"{op.writer.hex()}:{op.counter} ({record.key} := {record.value!r} of {record.hlc})"
        self.accuse(rule, f"{address} applied {what} although {why}")


def _name(record: Record) -> Request:
    return record.key, record.request


def _deed(op: Op) -> Deed:
    """What an op did; every value is written once in a run, so the value tells one write from another."""
    record = op.record
    return (
        ("delete", record.key, record.request.encode()) if record.value is None else ("put", record.key, record.value)
    )
