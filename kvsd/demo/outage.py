"""
A bad moment in the middle of a load: one node of each shard gets a ``kill -9``, and comes back some seconds later.

A third of the keys is written before, a third at the most while the nodes are away, and the rest from their restart
on; however small the load, all three happen.
"""

import asyncio
from collections.abc import Callable, Sequence

from kvsd.local.cluster import LocalCluster

AWAY_SECONDS = 3.0


class Outage:
    """The death and return of the ``victims`` during a load of ``keys`` keys; ``say`` is told of both."""

    def __init__(self, cluster: LocalCluster, victims: Sequence[str], keys: int, say: Callable[[str], object]) -> None:
        self._cluster = cluster
        self._victims = list(victims)
        self._keys = keys
        self._say = say
        self._begun = asyncio.Event()
        self._back = asyncio.Event()

    async def happen(self, acknowledged: Callable[[], int]) -> None:
        """Kill the victims when the second third of the keys begins, and start them again; ends when they are ready."""
        await self._begun.wait()
        for victim in self._victims:
            self._cluster.kill(victim)
        self._say(f"{acknowledged()} keys written: killed {', '.join(self._victims)} with SIGKILL")
        await asyncio.sleep(AWAY_SECONDS)
        for victim in self._victims:
            self._cluster.restart(victim)
        self._say(f"{acknowledged()} keys written: started {', '.join(self._victims)} again")
        self._back.set()
        await asyncio.to_thread(self._cluster.ready)

    async def gate(self, number: int) -> None:
        """Take note of the number of a key that is to be written; hold the last third back until the restart."""
        if number > self._keys // 3:
            self._begun.set()
        if number > self._keys * 2 // 3:
            await self._back.wait()
