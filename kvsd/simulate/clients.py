"""
Clients: each follows its script, carries tokens from reply to request, gives up, and tries again.

What they see becomes the history that is judged.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from kvsd.simulate.clock import Clock, Timer
from kvsd.simulate.door import Answer, Ask, Call, Verb
from kvsd.simulate.history import History, Number, Operation
from kvsd.simulate.machine import Machine
from kvsd.simulate.plan import Step
from kvsd.simulate.trace import Trace

RETRY_SECONDS = 0.2
WATCH_SECONDS = 0.2
MAX_TOKENS = 4
LARGE_EVERY = 8
TOLD_CHARACTERS = 60
"""So much of a value is written down in the trace."""

Carried = dict[Number, str]
"""Tokens, by the operations that they were the answers to."""


class Scribe:
    """Writes down what clients see."""

    def __init__(self, clock: Clock, trace: Trace) -> None:
        self.history: History = []
        self.wrong: list[str] = []
        """Answers that no client of this kind should get."""
        self.by_request: dict[str, Number] = {}
        """The writes that had an id, by that."""
        self.answers: Counter[str] = Counter()
        """How many answers there were of each kind."""
        self._clock = clock
        self._trace = trace

    def count(self) -> int:
        """How many requests were answered."""
        return sum(count for kind, count in self.answers.items() if kind != "none")

    def operation(
        self,
        client: str,
        kind: Literal["read", "write"],
        key: str,
        value: str | None,
        after: Sequence[Number],
        asked: float,
    ) -> Operation:
        """Write an operation down."""
        operation = Operation(len(self.history), client, kind, key, value, tuple(after), asked, None)
        self.history.append(operation)
        return operation

    def answered(self, client: str, answer: Answer) -> None:
        """A client was answered."""
        self.answers[answer.kind] += 1
        self._trace.note((client,), f"hears {answer.kind} {answer.value[:TOLD_CHARACTERS]} {answer.token} {answer.why}")
        if answer.kind == "wrong":
            self.wrong.append(f"{client} was told that its request is wrong: {answer.why}")


class Client:
    """One client with its script."""

    def __init__(
        self,
        name: str,
        script: Sequence[Step],
        machines: Sequence[Machine],
        clock: Clock,
        scribe: Scribe,
        known: tuple[Number, ...] = (),
        large_bytes: int = 0,
    ) -> None:
        self.name = name
        self.carried: Carried = {}
        self.others: Sequence[Client] = ()
        self.known = known
        """The operations that even a request without a token comes after."""
        self.large_bytes = large_bytes
        """By how much some of its values are larger than others."""
        self.busy = False
        self.failures: list[str] = []
        """Deeds that came to nothing, with the last reason."""
        self._script = list(script)
        self._machines = machines
        self._clock = clock
        self._scribe = scribe
        self._place = 0
        self._next: Timer | None = None
        self._last: dict[str, str] = {}

    def begin(self) -> None:
        """Do what the script says next, in its time."""
        if self._place < len(self._script):
            step = self._script[self._place]
            self._place += 1
            self.busy = True
            self._next = self._clock.after(step.after, lambda: self._do(step))
        else:
            self.busy = False

    def finish(self) -> None:
        """Begin nothing new."""
        self._place = len(self._script)
        if self._next and self._next.active():
            self._next.cancel()
            self.busy = False

    def _do(self, step: Step) -> None:
        if step.deed == "take":
            other = self.others[step.other].carried
            merged = dict(other) if step.instead else {**self.carried, **other}
            self.carried = dict(sorted(merged.items())[-MAX_TOKENS:])
            self.begin()
        else:
            _Attempt(self, self._scribe, self._clock, self._machines, step, f"{self.name}.{self._place}").go()

    def filling(self) -> str:
        """What makes a value large: some, in a row of all deeds."""
        return "." * self.large_bytes if self._place % LARGE_EVERY == 0 else ""

    def saw(self, key: str, value: str) -> bool:
        """Remember what a key was read as, empty where it was absent; says whether that is new."""
        new = self._last.get(key, "") != value
        self._last[key] = value
        return new


class _Attempt:
    """One deed of a client, from its first try to its end."""

    def __init__(
        self, client: Client, scribe: Scribe, clock: Clock, machines: Sequence[Machine], step: Step, name: str
    ) -> None:
        self._client = client
        self._scribe = scribe
        self._clock = clock
        self._machines = machines
        self._step = step
        self._name = name
        self._carried = dict(client.carried)
        self._after = (*client.known, *self._carried)
        self._tries = 0
        self._since = clock.seconds()
        self._write: Operation | None = None
        self._call: Call | None = None
        self._patience: Timer | None = None

    def go(self) -> None:
        """Try, or try again."""
        step = self._step
        self._tries += 1
        verb: Verb = "get" if step.deed == "watch" else step.deed  # type: ignore[assignment]
        if verb != "get":
            self._write = self._write or self._begin_write(verb)
        request = self._name if step.named and verb != "get" else ""
        machine = self._machines[(step.node + (self._tries - 1 if self._tries > 2 else 0)) % len(self._machines)]
        value = (self._write.value or "") if self._write else ""
        ask = Ask(verb, step.key, value, tuple(self._carried.values()), step.wait, request, step.w)
        self._patience = self._clock.after(step.patience, self._give_up)
        self._call = machine.ask(ask, self._hear)

    def _begin_write(self, verb: Verb) -> Operation:
        """A write that is tried anew without an id is another write, so it has another value."""
        step = self._step
        value = None if verb == "delete" else f"{self._name}.{self._tries}{self._client.filling()}"
        write = self._scribe.operation(self._client.name, "write", step.key, value, self._after, self._since)
        if step.named:
            self._scribe.by_request[self._name] = write.number
        return write

    def _give_up(self) -> None:
        assert self._call is not None
        self._call.hang_up()
        self._again(f"no answer within {self._step.patience:g} s")

    def _hear(self, answer: Answer) -> None:
        assert self._patience is not None
        self._patience.cancel()
        self._scribe.answered(self._client.name, answer)
        match answer.kind:
            case "found" | "absent":
                self._read(answer)
            case "written" | "unconfirmed":
                self._wrote(answer)
            case _:
                self._again(answer.why)

    def _read(self, answer: Answer) -> None:
        """A key was found or not; a deletion that says that there was nothing may have deleted it in an earlier try."""
        value = answer.value if answer.kind == "found" else None
        client, step = self._client, self._step
        client.carried = {self._note_read(value): answer.token}
        new = client.saw(step.key, value or "")
        if step.deed == "watch" and not new:
            self._carried = dict(client.carried)
            self._after = (*client.known, *self._carried)
            self._again("nothing new")
        else:
            client.begin()

    def _note_read(self, value: str | None) -> Number:
        name, key = self._client.name, self._step.key
        read = self._scribe.operation(name, "read", key, value, self._after, self._since)
        read.answered = self._clock.seconds()
        return read.number

    def _wrote(self, answer: Answer) -> None:
        assert self._write is not None, "only a write is written"
        self._write.answered = self._clock.seconds()
        if self._write.value is not None and not answer.existed:
            self._note_read(None)  # the key was created: it had no value before
        self._client.carried = {self._write.number: answer.token}
        self._client.begin()

    def _again(self, why: str) -> None:
        step = self._step
        if self._tries >= step.tries:
            self._client.failures.append(f"{self._name} ({step.deed} {step.key}) failed: {why}")
            self._client.begin()
        elif step.deed == "watch":
            self._clock.after(WATCH_SECONDS, self.go)
        else:
            if not step.named:
                self._write = None
            self._clock.after(RETRY_SECONDS, self.go)
