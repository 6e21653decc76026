"""
The cases of :mod:`benchmarks.core` that tell whether costs grow: with keys, replicas, tokens, and with what is held back.
"""

from collections.abc import Callable

from benchmarks.core_cases import asked, read, write, write_on
from benchmarks.watched import VALUE, Case, Shard, in_batches
from kvsd.replication.causality import Dependencies, Dot
from kvsd.replication.effects import Write
from kvsd.replication.messages import Push
from kvsd.replication.record import Op, Record
from kvsd.replication.requests import Get, Put
from kvsd.replication.token import Token

KEYS = (1_000, 30_000, 1_000_000)
REPLICAS = (2, 3, 5)
ENTRIES = (1, 5, 25, 50)
HELD = (0, 1_000, 9_000)


def many_keys(act: Callable[[Shard, str], None], keys: int) -> Callable[[], Case]:
    """Requests at a replica that holds so many keys; the two others have none of them yet."""

    def set_up() -> Case:
        shard = Shard(keys=0, listening=1)
        shard.keys = shard.cluster.keys_of("s0", keys)
        writer, hlc = b"loader", shard.cluster.now.wall_ms << 16
        for start in range(0, keys, 100):
            names = enumerate(shard.keys[start : start + 100], start + 1)
            records = [Record(0, k, VALUE, hlc + n, Dot("s0", writer, n), {}, 1, "", True, 0) for n, k in names]
            push = Push([Op("s0", writer, record.origin.counter, 1, {}, (record,)) for record in records])
            shard.site.perform(shard.replica.receive(shard.members[1].sender, [push], shard.now), shard.now)
        return lambda loops: in_batches(loops, shard.keys_for, lambda key: act(shard, key))

    return set_up


def long_token(act: Callable[[Shard, str, Token], object], entries: int) -> Callable[[], Case]:
    """Requests with tokens that name so many writes of other shards, which nobody is known to have."""

    def set_up() -> Case:
        shard = Shard(nodes=60, shards=20, listening=1)
        writers = shard.replica.state.writers.items()
        dependencies: Dependencies = {}
        for writer, member in [(w, m) for w, m in sorted(writers) if m.shard != "s0"][:entries]:
            dependencies.setdefault(member.shard, {})[writer] = 1
        token = Token(1, 0, dependencies)
        return lambda loops: in_batches(loops, shard.keys_for, lambda key: act(shard, key, token))

    return set_up


def behind(count: int) -> Callable[[], Case]:
    """Ops that are due, at a replica that holds so many others of another writer back."""

    def set_up() -> Case:
        shard = Shard(listening=1)
        writers = (b"loader", b"behind")
        counter = 0

        def op(writer: bytes, number: int) -> Op:
            hlc = shard.now.wall_ms << 16
            record = Record(0, shard.next_key(), VALUE, hlc, Dot("s0", writer, number), {}, 1, "", True, 0)
            return Op("s0", writer, number, 1, {}, (record,))

        def hear(ops: list[Op]) -> None:
            sender = shard.members[1].sender
            for effect in shard.replica.receive(sender, [Push(ops)], shard.now):
                if isinstance(effect, Write):
                    shard.replica.synced(effect.position, shard.now)

        def prepare(size: int) -> list[list[Op]]:
            nonlocal counter
            counter += size
            return [[op(writers[0], number)] for number in range(counter - size + 1, counter + 1)]

        hear([op(writers[1], number) for number in range(2, 2 + count)])
        return lambda loops: in_batches(loops, prepare, hear)

    return set_up


SCALE: dict[str, Callable[[], Case]] = {
    **{f"GET, {keys:,} keys": many_keys(read, keys) for keys in KEYS},
    **{f"PUT, {keys:,} keys": many_keys(write, keys) for keys in KEYS},
    **{f"PUT, {nodes} replicas": asked(write_on, nodes=nodes) for nodes in REPLICAS},
    **{
        f"GET, token of {size} entries": long_token(lambda shard, key, token: shard.ask(Get(key, token)), size)
        for size in ENTRIES
    },
    **{
        f"PUT, token of {size} entries": long_token(lambda shard, key, token: shard.ask(Put(key, VALUE, token)), size)
        for size in ENTRIES
    },
    **{f"an op, {count:,} held back": behind(count) for count in HELD},
}
