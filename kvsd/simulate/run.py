"""
A run: a cluster is founded, things go wrong while clients work, all is mended, and what came of it is judged.

A long run is a row of such episodes with one cluster, so that each history is short enough to be judged.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from traceback import format_exc

from kvsd.simulate.checkers.judge import judge
from kvsd.simulate.clients import Client, Scribe
from kvsd.simulate.faults.catalogue import KINDS, in_words
from kvsd.simulate.faults.scene import Scene, nothing
from kvsd.simulate.history import FinalState, History, Number, Violation
from kvsd.simulate.network import Weather
from kvsd.simulate.operators import Operator
from kvsd.simulate.plan import Fault, Plan
from kvsd.simulate.quiet import Quiet
from kvsd.simulate.trace import Trace
from kvsd.simulate.world import Cluster

LARGE_BYTES = 70_000
"""The size of large values, in runs with links that carry little."""
BEFORE = "before"
"""The client that wrote what was there when an episode began."""


@dataclass
class Verdict:
    """What a run came to."""

    seed: int
    violations: list[Violation] = field(default_factory=list)
    operations: int = 0
    """How many requests of clients were answered."""
    answers: Counter[str] = field(default_factory=Counter)
    """What they were answered, and how many got no answer (none)."""
    orders: Counter[str] = field(default_factory=Counter)
    """What became of the orders of operators."""
    faults: Counter[str] = field(default_factory=Counter)
    """How many faults of each kind happened."""
    seconds: float = 0.0
    """How long it was, in simulated seconds."""
    settled: float = 0.0
    """How many seconds the cluster took at most to come to rest after all was mended."""
    digest: str = ""
    """The hash of all that happened."""
    evidence: list[str] = field(default_factory=list)
    """Lines that show the last events of the nodes that violations speak of."""


def simulate(plans: Sequence[Plan]) -> "Simulation":
    """Run the episodes of a run to the end, or to the first that broke a promise."""
    simulation = Simulation(plans[0])
    simulation.run(plans)
    return simulation


class Simulation:
    """A run: its cluster, what happened there, and what to think of it."""

    def __init__(self, plan: Plan) -> None:
        self.verdict = Verdict(plan.seed)
        self.history: History = []
        """What clients saw in the last episode."""
        self.cluster = Cluster(plan)
        for machine in self.cluster.machines.values():
            machine.start()

    @property
    def trace(self) -> Trace:
        """All that happened."""
        return self.cluster.trace

    def run(self, plans: Iterable[Plan]) -> None:
        """Go through episodes; whatever is raised, by the simulator too, is a violation."""
        verdict, monitor = self.verdict, self.cluster.monitor
        before: list[FinalState] = []
        try:
            for plan in plans:
                before = self._episode(plan, before)
                if monitor.violations:
                    break
        except Exception:
            monitor.accuse("no-exception", format_exc())
        verdict.violations = monitor.violations
        verdict.seconds = self.cluster.clock.seconds()
        verdict.digest = self.trace.digest()

    def _episode(self, plan: Plan, before: Iterable[FinalState]) -> list[FinalState]:
        episode = Episode(self.cluster, plan, before)
        self.history = episode.scribe.history
        try:
            return episode.run()
        finally:
            self.verdict.faults += episode.faults
            self.verdict.operations += episode.scribe.count()
            self.verdict.answers += episode.scribe.answers
            self.verdict.orders += episode.operator.answers
            self.verdict.settled = max(self.verdict.settled, episode.settled)


class Episode:
    """Storm and quiet, once."""

    def __init__(self, cluster: Cluster, plan: Plan, before: Iterable[FinalState]) -> None:
        self.faults: Counter[str] = Counter()
        self.settled = 0.0
        self.scribe = Scribe(cluster.clock, cluster.trace)
        self._cluster = cluster
        self._plan = plan
        self._machines = list(cluster.machines.values())
        self._scene = Scene(cluster.clock, cluster.network, self._machines, cluster.monitor.distrust)
        self.operator = Operator(self._machines, cluster.trace)
        known = self._note_before(before)
        large_bytes = LARGE_BYTES if any(fault.kind == "narrow-link" for fault in plan.faults) else 0
        self._clients = [
            Client(f"e{plan.episode}c{number}", script, self._machines, cluster.clock, self.scribe, known, large_bytes)
            for number, script in enumerate(plan.scripts)
        ]
        for client in self._clients:
            client.others = self._clients

    def _note_before(self, before: Iterable[FinalState]) -> tuple[Number, ...]:
        """What is there already was written by somebody, and is known to everybody."""
        values = {key: version.value for state in before for key, version in state.rows.items()}
        now = self._cluster.clock.seconds()
        for key, value in sorted(values.items()):
            self.scribe.operation(BEFORE, "write", key, value, (), now).answered = now
        return tuple(range(len(values)))

    def run(self) -> list[FinalState]:
        """The storm, the quiet and the judgement; returns what there is in the end."""
        cluster, plan = self._cluster, self._plan
        until = cluster.clock.seconds() + plan.seconds
        for client in self._clients:
            client.begin()
        for order in plan.orders:
            cluster.clock.after(order.at, partial(self.operator.carry_out, order))
        for fault in plan.faults:
            cluster.clock.after(fault.at, self._breaking(fault, until))
        cluster.clock.run(until)
        for client in self._clients:
            client.finish()
        self._mend()
        quiet = Quiet(cluster, self._clients, self.scribe, f"e{plan.episode}")
        changing = bool(plan.orders) or self.faults["lost-majority"] > 0
        room = plan.limits.get("concerns", len(cluster.machines))
        self.settled = quiet.settle(changing=changing, concerns=room if plan.concerned else 0)
        finals = quiet.finals()
        self._judge(finals)
        return finals

    # Faults

    def _breaking(self, fault: Fault, until: float) -> Callable[[], None]:
        """What makes a fault happen, unless it finds nothing to break; it ends before all is mended."""

        def happen() -> None:
            if self._cluster.clock.seconds() < self._scene.calm_until:
                return
            begun = len(self._cluster.trace.story)
            end = KINDS[fault.kind](self._scene, fault)
            if end is None:
                return
            self.faults[fault.kind] += 1
            lasting = f", for {fault.seconds:g} s" if end is not nothing else ""
            self._cluster.trace.tell((), in_words(self._scene, fault) + lasting, begun)
            clock = self._cluster.clock
            clock.at(min(clock.seconds() + fault.seconds, until), end)

        return happen

    def _mend(self) -> None:
        """All that is still broken is mended."""
        self._cluster.trace.tell((), "all is mended")
        self._cluster.network.weather = Weather()
        for machine in self._machines:
            machine.mend()

    # Judgement

    def _judge(self, finals: list[FinalState]) -> None:
        known = self._stamps()
        self._note_repeats(known)
        stamps = {number: next(iter(found)) for number, found in known.items() if len(found) == 1}
        monitor = self._cluster.monitor
        for text in self.scribe.wrong:
            monitor.accuse("answers", text)
        for violation in judge(self.scribe.history, finals, stamps):
            monitor.accuse(violation.rule, violation.text)

    def _stamps(self) -> dict[Number, set[int]]:
        """The stamps under which each write was carried out, as far as they are known."""
        rows, scribe = self._cluster.rows, self.scribe
        named = scribe.by_request.items()
        known = {number: rows.by_request[request] for request, number in named if request in rows.by_request}
        for operation in scribe.history:
            if operation.kind == "write" and operation.value is not None and operation.value in rows.by_value:
                known[operation.number] = rows.by_value[operation.value]
        return known

    def _note_repeats(self, known: dict[Number, set[int]]) -> None:
        """
        A retry that reached a replica before the first try did is a write of its own, with the same value.

        That is what clients are told of Idempotency-Key, so the history must say so.
        """
        for number, stamps in known.items():
            first = self.scribe.history[number]
            for _ in range(len(stamps) - 1):
                self.scribe.operation(first.client, "write", first.key, first.value, first.after, first.asked)
