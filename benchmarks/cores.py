"""
Two parts of the core whose cost may grow, measured in this process: writes that are held back, and tokens.
"""

import time

from benchmarks.load import Sample
from kvsd.replication.causality import Dependencies, Dot, VersionVector
from kvsd.replication.holdback import HoldBack
from kvsd.replication.limits import Limits
from kvsd.replication.record import Op, Record
from kvsd.replication.token import Token, TokenCodec

WRITER = b"writer"
SHARD = "s0"
REPEATED_SECONDS = 0.2
WRITERS_A_SHARD = 3


def held_back(depth: int) -> Sample:
    """So many writes of one writer come before the one that they all wait for, which then comes too."""
    limits = Limits()
    ops = [_op(counter) for counter in range(1, depth + 1)]
    late = ops[1:]
    spent, times = 0.0, 0
    while spent < REPEATED_SECONDS:
        queue = HoldBack(max(depth, limits.holdback_ops), limits.holdback_bytes)
        vector: VersionVector = {}
        began = time.process_time()
        for op in [*late, ops[0]]:
            queue.add(op, 0.0)
        handed_out = 0
        for op in queue.due(vector, 1):
            vector[op.writer] = op.counter
            handed_out += 1
        spent += time.process_time() - began
        times += 1
        if handed_out != depth:
            raise AssertionError(f"{handed_out} of {depth} writes were handed out")
    return Sample(times * depth / spent, 1e6 * spent / (times * depth))


def _op(counter: int) -> Op:
    record = Record(0, f"key{counter}", b'"x"', counter, Dot(SHARD, WRITER, counter), {}, 1, "", True, 0)
    return Op(SHARD, WRITER, counter, 1, {}, (record,))


def token_entries(entries: int) -> Sample:
    """A token that names so many writes, from text to value and back."""
    codec = TokenCodec(b"secret", "cluster")
    dependencies: Dependencies = {}
    for number in range(entries):
        shard = dependencies.setdefault(f"s{number // WRITERS_A_SHARD}", {})
        shard[number.to_bytes(6, "big")] = 3_000_000 + number
    text = codec.encode(Token(1, 1 << 40, dependencies))
    began, times = time.process_time(), 0
    while (spent := time.process_time() - began) < REPEATED_SECONDS:
        codec.encode(codec.decode(text))
        times += 1
    return Sample(times / spent, 1e6 * spent / times)
