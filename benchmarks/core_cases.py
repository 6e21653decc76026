"""
The cases of :mod:`benchmarks.core`: requests of clients, messages of peers, time that passes, and bytes.

Each sets up a cluster, and then carries out what it is named after so many times.
"""

from collections.abc import Callable, Iterator, Sequence
from time import process_time

from benchmarks.replicas import SECRET, Post, Replicas, Site, submit
from benchmarks.watched import BATCH, SESSIONS, VALUE, Case, Shard, in_batches
from kvsd.entries import entries
from kvsd.replication.effects import Effect, Keep, Now, Reply, Send, Write
from kvsd.replication.messages import Push, Sender
from kvsd.replication.record import Op
from kvsd.replication.requests import Absent, Found, Get, Outcome, Put, Written
from kvsd.replication.token import EMPTY, Token
from kvsd.tokens import Tokens
from kvsd.wire import EnvelopeCodec, encode_message

# What clients ask


def read(shard: Shard, key: str) -> None:
    """A read without a token."""
    shard.ask(Get(key, EMPTY))


def read_on(shard: Shard, key: str) -> None:
    """A read with the token of the session's last reply."""
    session = len(key) * 7 + ord(key[-1]) * 31 + ord(key[-2])
    outcome = shard.ask(Get(key, shard.tokens[session % SESSIONS]))
    assert isinstance(outcome, Found | Absent)
    shard.tokens[session % SESSIONS] = outcome.token


def write(shard: Shard, key: str) -> None:
    """A write without a token, durable at once."""
    shard.ask(Put(key, VALUE, EMPTY))


def write_on(shard: Shard, key: str) -> None:
    """A write with the token of the session's last reply, durable at once."""
    session = len(key) * 7 + ord(key[-1]) * 31 + ord(key[-2])
    outcome = shard.ask(Put(key, VALUE, shard.tokens[session % SESSIONS]))
    assert isinstance(outcome, Written)
    shard.tokens[session % SESSIONS] = outcome.token


def asked(act: Callable[[Shard, str], None], **shape: int) -> Callable[[], Case]:
    """Requests at one replica of a shard."""

    def set_up() -> Case:
        shard = Shard(**shape)
        return lambda loops: in_batches(loops, shard.keys_for, lambda key: act(shard, key))

    return set_up


def in_turns(size: int) -> Callable[[], Case]:
    """Writes with the tokens of their sessions' last replies, so many in a turn; the time is of one."""

    def set_up() -> Case:
        shard = Shard()

        def turns(count: int) -> Iterator[list[tuple[int, Put]]]:
            keys = list(shard.keys_for(count))
            for start in range(0, count, size):
                sessions = [(start + place) % SESSIONS for place in range(len(keys[start : start + size]))]
                yield [(s, Put(key, VALUE, shard.tokens[s])) for s, key in zip(sessions, keys[start:], strict=False)]

        def write_all(asked: list[tuple[int, Put]]) -> None:
            outcomes = shard.ask_all([put for _, put in asked])
            for (session, _), outcome in zip(asked, outcomes, strict=True):
                assert isinstance(outcome, Written)
                shard.tokens[session] = outcome.token

        return lambda loops: in_batches(loops, turns, write_all)

    return set_up


def missing() -> Case:
    """Reads of keys that are not there."""
    shard = Shard()
    keys = shard.cluster.keys_of("s0", 3000)[1000:]
    return lambda loops: in_batches(
        loops, lambda count: (keys[n % len(keys)] for n in range(count)), lambda key: read(shard, key)
    )


def sessions_in_text(act: Callable[[Shard, str, Token], Outcome]) -> Callable[[], Case]:
    """Requests whose tokens come as text and go as text; each session reads now and then, untimed, what others wrote."""

    def set_up() -> Case:
        shard = Shard()
        texts = [""] * SESSIONS

        def prepare(count: int) -> Iterator[tuple[int, str]]:
            shard.go_on()
            for session in range(SESSIONS):
                outcome = shard.ask(
                    Get(shard.next_key(), shard.texts.decode(texts[session]) if texts[session] else EMPTY)
                )
                assert isinstance(outcome, Found)
                texts[session] = shard.texts.encode(outcome.token)
            return ((number % SESSIONS, shard.next_key()) for number in range(count))

        def ask(asked: tuple[int, str]) -> None:
            session, key = asked
            outcome = act(shard, key, shard.texts.decode(texts[session]))
            assert isinstance(outcome, Found | Written)
            texts[session] = shard.texts.encode(outcome.token)

        return lambda loops: in_batches(loops, prepare, ask)

    return set_up


# What peers say


def applied(size: int) -> Callable[[], Case]:
    """Pushes of so many ops each, applied at another replica; the time is of one op."""

    def set_up() -> Case:
        shard = Shard()
        other = shard.members[1]

        def ops() -> list[Op]:
            site, now = shard.site, shard.now
            found = []
            for _ in range(size):
                for effect in submit(site.replica, [(1, Put(shard.next_key(), VALUE, EMPTY))], now):
                    if isinstance(effect, Write):
                        site.replica.synced(effect.position, now)
                    elif isinstance(effect, Send) and isinstance(effect.message, Push):
                        if effect.peer == other.address:
                            found += effect.message.ops
                        else:
                            shard.sent.append(effect)
            return found

        def prepare(count: int) -> list[Post]:
            shard.go_on()
            pushes = [encode_message(Push(ops())) for _ in range(max(1, count // size))]
            shard.site.queues[other.address] = pushes
            (post,) = shard.cluster.posts(other)
            return [Post(post.sender, [message]) for message in post.messages]

        def hear(post: Post) -> None:
            positions = [
                effect.position
                for effect in other.replica.receive(post.sender, post.messages, shard.now)
                if isinstance(effect, Write)
            ]
            other.replica.synced(positions[0], shard.now)

        def carry_out(loops: int) -> float:
            seconds, done = 0.0, 0
            while done < loops:
                seconds += in_batches(1, lambda _: prepare(BATCH), hear)
                done += max(1, BATCH // size) * size
            return seconds * loops / done

        return carry_out

    return set_up


def forwarded(*, at_sender: bool) -> Callable[[], Case]:
    """Reads that a node of another shard sends on to a member: what they cost here or there."""

    def set_up() -> Case:
        shard = Shard(nodes=4, shards=2)
        asking = shard.cluster.members("s1")[0]
        hearing = {member.address: member for member in shard.members}

        def send(key: str) -> Send:
            (effect,) = submit(asking.replica, [(1, Get(key, EMPTY))], shard.now)
            assert isinstance(effect, Send)
            return effect

        def carry(site: Site, signed: Sender, sent: Send) -> Send:
            (effect,) = site.replica.receive(signed, [sent.message], shard.now)
            assert isinstance(effect, Send)
            return effect

        def carry_out(loops: int) -> float:
            seconds = 0.0
            for start in range(0, loops, BATCH):
                keys = list(shard.keys_for(min(BATCH, loops - start)))
                times = [process_time()]
                sent = [send(key) for key in keys]
                times.append(process_time())
                signed = asking.sender
                answers = [carry(hearing[effect.peer], signed, effect) for effect in sent]
                times.append(process_time())
                senders = {member.address: member.sender for member in shard.members}
                begin = process_time()
                for effect, answer in zip(sent, answers, strict=True):
                    asking.replica.receive(senders[effect.peer], [answer.message], shard.now)
                end = process_time()
                seconds += times[1] - times[0] + end - begin if at_sender else times[2] - times[1]
            return seconds

        return carry_out

    return set_up


# Time passes


def heartbeats(nodes: int, shards: int) -> Callable[[], Case]:
    """Heartbeats of all other nodes, heard and answered."""

    def set_up() -> Case:
        cluster = Replicas(nodes, shards, listening=1)
        site = cluster.site(0)

        def prepare(_: int) -> list[Post]:
            cluster.advance(0.3)
            return cluster.heartbeats(site)

        def hear(post: Post) -> None:
            site.replica.receive(post.sender, post.messages, cluster.now)

        def carry_out(loops: int) -> float:
            rounds = -(-loops // (nodes - 1))
            return sum(in_batches(1, prepare, hear) for _ in range(rounds)) * loops / (rounds * (nodes - 1))

        return carry_out

    return set_up


def ticks(nodes: int, shards: int) -> Callable[[], Case]:
    """Ticks at one node, with heartbeats to all others in every third."""

    def set_up() -> Case:
        cluster = Replicas(nodes, shards, listening=1)
        site = cluster.site(0)
        count = 0

        def prepare(_: int) -> list[Now]:
            nonlocal count
            count += 1
            cluster.advance()
            if count % 3 == 0:
                for post in cluster.heartbeats(site):
                    site.perform(site.replica.receive(post.sender, post.messages, cluster.now), cluster.now)
            return [cluster.now]

        return lambda loops: sum(in_batches(1, prepare, site.replica.tick) for _ in range(loops))

    return set_up


# Bytes


def effects_of_writes(count: int) -> tuple[Shard, list[Effect]]:
    """The effects of so many writes with tokens, in the shard that carries them out."""
    shard = Shard()
    found: list[Effect] = []
    for number in range(count):
        token = shard.tokens[number % SESSIONS]
        effects = submit(shard.replica, [(1, Put(shard.next_key(), VALUE, token))], shard.now)
        for effect in effects:
            if isinstance(effect, Write):
                shard.replica.synced(effect.position, shard.now)
            elif isinstance(effect, Reply) and isinstance(effect.outcome, Written):
                shard.tokens[number % SESSIONS] = effect.outcome.token
        found += effects
    return shard, found


def kept() -> Case:
    """The entries on disk of a write."""
    writes = [effect for effect in effects_of_writes(BATCH)[1] if isinstance(effect, Write)]

    def encode(changes: Sequence[Keep]) -> None:
        for _ in entries(changes):
            pass

    return lambda loops: in_batches(loops, lambda count: (w.changes for w in writes[:count]), encode)


def pushed() -> Case:
    """The bytes of a push of one write."""
    pushes = [effect.message for effect in effects_of_writes(BATCH)[1] if isinstance(effect, Send)]
    return lambda loops: in_batches(loops, lambda count: pushes[:count], encode_message)


def envelopes(*, decoding: bool) -> Callable[[], Case]:
    """POSTs with ten pushes each, sealed or opened."""

    def set_up() -> Case:
        shard, effects = effects_of_writes(BATCH)
        pushes = [encode_message(effect.message) for effect in effects if isinstance(effect, Send)]
        tens = [pushes[start : start + 10] for start in range(BATCH)]
        codec, sender, receiver = EnvelopeCodec(SECRET), shard.site.sender, shard.members[1].address
        if decoding:
            bodies = [codec.encode(sender, receiver, ten) for ten in tens]
            return lambda loops: in_batches(
                loops, lambda count: bodies[:count], lambda body: codec.decode(body, receiver)
            )
        return lambda loops: in_batches(
            loops, lambda count: tens[:count], lambda ten: codec.encode(sender, receiver, ten)
        )

    return set_up


def texts(*, known: bool) -> Callable[[], Case]:
    """Tokens of three entries, given as text and read again: by the node that gave them, or by another one."""

    def set_up() -> Case:
        shard = Shard()
        other = Tokens(shard.replica.state, SECRET)
        writers = list(shard.replica.state.writers)
        count = 0

        def prepare(size: int) -> Iterator[Token]:
            nonlocal count
            for _ in range(size):
                count += 1
                yield Token(1, count << 16, {"s0": {writer: count + n for n, writer in enumerate(writers)}})

        reader = shard.texts if known else other
        return lambda loops: in_batches(loops, prepare, lambda token: reader.decode(shard.texts.encode(token)))

    return set_up


CASES: dict[str, Callable[[], Case]] = {
    "GET, no token": asked(read),
    "GET, token of the last reply": asked(read_on),
    "GET, the same as text": sessions_in_text(lambda shard, key, token: shard.ask(Get(key, token))),
    "GET of a missing key": missing,
    "PUT, no token": asked(write),
    "PUT, token of the last reply": asked(write_on),
    "PUT, the same, one of 32 in a turn": in_turns(32),
    "PUT, the same as text": sessions_in_text(lambda shard, key, token: shard.ask(Put(key, VALUE, token))),
    "an op, applied from a push of 1": applied(1),
    "an op, applied from a push of 10": applied(10),
    "an op, applied from a push of 100": applied(100),
    "GET forwarded, at the sender": forwarded(at_sender=True),
    "GET forwarded, at the receiver": forwarded(at_sender=False),
    "heartbeat heard, 3 nodes": heartbeats(3, 1),
    "heartbeat heard, 12 nodes": heartbeats(12, 4),
    "heartbeat heard, 99 nodes": heartbeats(99, 33),
    "tick, 3 nodes": ticks(3, 1),
    "tick, 12 nodes": ticks(12, 4),
    "tick, 99 nodes": ticks(99, 33),
    "entries of a PUT on disk": kept,
    "message of a PUT": pushed,
    "envelope of 10 PUTs, sealed": envelopes(decoding=False),
    "envelope of 10 PUTs, opened": envelopes(decoding=True),
    "token of 3 entries to text, read here": texts(known=True),
    "token of 3 entries to text, read elsewhere": texts(known=False),
}
