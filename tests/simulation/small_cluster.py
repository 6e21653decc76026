"""A small simulated cluster that a test drives by hand."""

from collections.abc import Sequence

from kvsd.simulate.clients import Client, Scribe
from kvsd.simulate.door import Answer, Ask, Call, Verb
from kvsd.simulate.machine import Machine
from kvsd.simulate.plan import Plan, Step
from kvsd.simulate.world import Cluster

FOUNDED_SECONDS = 2.0
PATIENCE_SECONDS = 5.0


def small_plan(nodes: int = 3, shards: int = 1, **limits: int) -> Plan:
    """A plan in which nothing happens."""
    return Plan(1, nodes, shards, 0.0, limits, [], [])


class SmallCluster:
    """Some machines that have founded a cluster, and what its clients hear."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.cluster = Cluster(plan or small_plan())
        self.clock = self.cluster.clock
        self.machines: list[Machine] = list(self.cluster.machines.values())
        self.scribe = Scribe(self.clock, self.cluster.trace)
        for machine in self.machines:
            machine.start()
        self.later(FOUNDED_SECONDS)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run(self.clock.seconds() + seconds)

    def complaints(self) -> list[str]:
        """What the monitor has found."""
        return [str(violation) for violation in self.cluster.monitor.violations]

    def told(self) -> list[str]:
        """All that happened, for people."""
        return [event.what for event in self.cluster.trace.story]

    # Clients

    def call(self, number: int, ask: Ask) -> tuple[Call, list[Answer]]:
        """Ask a machine and don't wait: the call, and the answers that it will get."""
        answers: list[Answer] = []
        return self.machines[number].ask(ask, answers.append), answers

    def ask(
        self, number: int, verb: Verb, key: str, value: str = "", tokens: tuple[str, ...] = (), request: str = ""
    ) -> Answer:
        """Ask a machine and wait; an answer of the kind ``none`` where none came in time."""
        _, answers = self.call(number, Ask(verb, key, value, tokens, 0.0, request))
        end = self.clock.seconds() + PATIENCE_SECONDS
        while not answers and self.clock.seconds() < end:
            self.later(0.01)
        return answers[0] if answers else Answer("none", why="the time is up")

    def client(self, name: str, *steps: Step) -> Client:
        """A client that begins to follow its script."""
        client = Client(name, steps, self.machines, self.clock, self.scribe)
        client.others = [client]
        client.begin()
        return client

    def seen(self, client: str) -> Sequence[tuple[str, str, str | None, bool]]:
        """The operations of a client: their kinds, keys and values, and whether they were answered."""
        return [
            (operation.kind, operation.key, operation.value, operation.answered is not None)
            for operation in self.scribe.history
            if operation.client == client
        ]
