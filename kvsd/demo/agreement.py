"""
Whether all nodes of a quiet cluster say the same.

Asked without any token, each node has to give the same members and key counts for every shard, and each member of a
shard the same value for its keys.  Replicas converge once messages get through, so every question is put again until
the answers agree or some 20 s were spent waiting; only then is it a mistake.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from kvsd.demo.chain import Line, NoAnswerError, RefusedError, Reply
from kvsd.demo.workload import Advance, Written, difference

POLL_SECONDS = 0.2
POLLS = 100  # 20 s of waiting in all


@dataclass(frozen=True)
class Shard:
    """A shard as a node describes it."""

    name: str
    members: list[str]
    keys: int


def describe(shards: Iterable[Shard]) -> str:
    """Shards in few words."""
    return ", ".join(f"{shard.keys} keys in {shard.name} at {' '.join(shard.members)}" for shard in shards) or "nothing"


async def ask(line: Line, path: str) -> Reply:
    """GET a path; a node that does not answer counts as one that says 503."""
    try:
        return await line.ask("GET", path)
    except (RefusedError, NoAnswerError) as error:
        return Reply(503, {"error": str(error)})


async def shards_at(door: str) -> list[Shard]:
    """What one node says of all shards; a shard whose keys it can't count has -1."""
    line = Line(door)
    shards = []
    try:
        for shard in (await ask(line, "/shard/ids")).body.get("shard-ids", []):
            members = await ask(line, f"/shard/members/{shard}")
            keys = await ask(line, f"/shard/key-count/{shard}")
            shards.append(Shard(shard, members.body.get("shard-members", []), keys.body.get("shard-key-count", -1)))
    finally:
        line.close()
    return shards


async def agree_on_shards(doors: Sequence[str], expected_keys: int | None) -> tuple[list[Shard], list[str]]:
    """
    Ask every node about every shard until all say the same and, where a number is given, the keys sum up to it.

    Gives what the first node says, and the mistakes in words.
    """
    answers: list[list[Shard]] = [[]]
    for _ in range(POLLS):
        answers = await asyncio.gather(*map(shards_at, doors))
        total = sum(shard.keys for shard in answers[0])
        if answers[0] and all(each == answers[0] for each in answers) and expected_keys in (None, total):
            return answers[0], []
        await asyncio.sleep(POLL_SECONDS)
    said = "; ".join(f"{door} says {describe(each)}" for door, each in zip(doors, answers, strict=True))
    wanted = "" if expected_keys is None else f", or do not count {expected_keys} keys"
    return answers[0], [f"nodes differ about the shards{wanted}: {said}"]


async def compare_members(
    shards: Iterable[Shard], written: Sequence[Written], advance: Advance, door: Callable[[str], str] = str
) -> list[str]:
    """Read keys at every member of their shard, without a token; gives the mistakes in words."""
    reads = []
    for shard in shards:
        mine = [each for each in written if each.shard == shard.name]
        reads += [read_at(door(member), mine, advance) for member in shard.members]
    return [mistake for mistakes in await asyncio.gather(*reads) for mistake in mistakes]


async def read_at(door: str, written: Iterable[Written], advance: Advance) -> list[str]:
    """Read keys at one node, each until it is right or patience with that node is at an end; gives the mistakes."""
    line = Line(door)
    polls = POLLS
    mistakes: list[str] = []
    try:
        for each in written:
            path = f"/kvs/{quote(each.key, safe='')}"
            while (wrong := difference(each, door, await ask(line, path))) and polls > 0:
                polls -= 1
                await asyncio.sleep(POLL_SECONDS)
            mistakes += wrong
            advance()
    finally:
        line.close()
    return mistakes
