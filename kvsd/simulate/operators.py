"""
Operators: they ask for changes of the cluster, each once, and take what they are answered.
"""

from collections import Counter
from collections.abc import Sequence

from kvsd.replication.requests import AbortReshard, AddMember, AddNode, Change, RemoveNode, Reshard
from kvsd.simulate.door import Answer
from kvsd.simulate.machine import Machine
from kvsd.simulate.plan import Order
from kvsd.simulate.trace import Trace


class Operator:
    """Carries out orders, and counts what became of them."""

    def __init__(self, machines: Sequence[Machine], trace: Trace) -> None:
        self._machines = machines
        self._trace = trace
        self.answers: Counter[str] = Counter()
        """How often each verb was answered in which way."""

    def carry_out(self, order: Order) -> None:
        """Ask a node for what an order says."""
        machine = self._machines[order.node]
        change = self._change(order, machine)
        if change is None:
            return
        self._trace.tell((machine.address,), f"is asked for {change}")
        machine.ask(change, lambda answer: self._hear(order, machine, answer))

    def _hear(self, order: Order, machine: Machine, answer: Answer) -> None:
        kind = "refused" if answer.kind == "wrong" else answer.kind
        self.answers[f"{order.verb} {kind}"] += 1
        self._trace.tell((machine.address,), f"answers the order to {order.verb}: {kind} {answer.why}")

    def _change(self, order: Order, machine: Machine) -> Change | None:
        target = self._machines[order.target].address
        match order.verb:
            case "add":
                return AddNode(target)
            case "remove":
                return RemoveNode(target)
            case "invite":
                return AddNode(f"10.0.9.{order.count}:8090")
            case "reshard":
                return Reshard(order.count)
            case "abort":
                return AbortReshard()
            case "member":
                shards = machine.run.node.insight.shard_ids() if machine.run else []
                return AddMember(shards[order.count % len(shards)], target) if shards else None
