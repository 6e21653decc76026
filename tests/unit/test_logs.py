"""Logs: one line an event, and never what clients store."""

import json
from io import StringIO

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvsd.logs import notice_of_dropped, to_stream
from kvsd.node import Node
from kvsd.ports import PeerUnreachable, Transport
from kvsd.replication.configuration import founding_configuration
from kvsd.replication.replica import Replica
from kvsd.replication.requests import Get, Put, Written
from kvsd.replication.saved import Saved
from kvsd.replication.state import Identity
from kvsd.replication.token import EMPTY
from kvsd.storage.memory_storage import MemoryStorage


class NoPeers(Transport):
    """A network on which nobody answers."""

    def post(self, address: str, body: bytes) -> Deferred[bytes]:
        """Fail at once."""
        return fail(PeerUnreachable(address))

    def close(self) -> Deferred[None]:
        """There is nothing to close."""
        return succeed(None)


class LogTests(SynchronousTestCase):
    """Events as lines, of text or of JSON."""

    def lines(self, form: str, *events: LogEvent) -> list[str]:
        """The lines that events come to."""
        stream = StringIO()
        observe = to_stream(stream, form)
        for event in events:
            observe({"log_time": 0.0, "log_level": LogLevel.info, "log_namespace": "kvsd.node", **event})
        self.assertTrue(stream.getvalue().endswith("\n") or not stream.getvalue())
        return stream.getvalue().splitlines()

    def failed(self) -> LogEvent:
        """An event that carries a failure."""
        try:
            raise ValueError("a\nb")
        except ValueError:
            return {"log_format": "it failed", "log_failure": Failure(), "log_level": LogLevel.critical}

    def test_text(self) -> None:
        """A line of text says when, how grave, where and what."""
        [line] = self.lines("text", {"log_format": "{n} went\nwrong", "n": 3})
        self.assertTrue(line.endswith(" info kvsd.node 3 went\\nwrong"), line)

    def test_json(self) -> None:
        """A line of JSON has the name of an event and its facts as members."""
        facts = {"peer": "10.0.0.2:8090", "rows": 3}
        [line] = self.lines("json", {"log_format": "{event}", "event": "copy", "facts": facts})
        members = json.loads(line)
        self.assertEqual(("copy", "10.0.0.2:8090", 3), (members["event"], members["peer"], members["rows"]))
        self.assertEqual(("info", "kvsd.node"), (members["level"], members["where"]))

    def test_one_line_an_event(self) -> None:
        """A traceback and any text with line breaks in it is one line, in either form."""
        for form in ("text", "json"):
            lines = self.lines(form, self.failed(), {"log_format": "a\nb\n"}, {"log_format": "{x}", "x": object()})
            self.assertEqual(3, len(lines), lines)
            self.assertIn("Traceback", lines[0])
            if form == "json":
                self.assertEqual(["critical", "info", "info"], [json.loads(line)["level"] for line in lines])

    def test_missing_lines(self) -> None:
        """Where lines are missing, a line in the form of the others says how many."""
        self.assertTrue(
            notice_of_dropped(7, 0.0, "text").endswith(" warn kvsd.logs log-lines-dropped lines=7: nobody read them\n")
        )
        line = json.loads(notice_of_dropped(7, 0.0, "json"))
        self.assertEqual(("warn", "log-lines-dropped", 7), (line["level"], line["event"], line["lines"]))

    def test_debugging_is_left_out(self) -> None:
        """Debugging events are not written."""
        self.assertEqual([], self.lines("text", {"log_format": "x", "log_level": LogLevel.debug}))

    def test_no_value_and_no_token_is_ever_written(self) -> None:
        """A node that is used in every way writes lines, but none has a key's value or a token in it."""
        stream = StringIO()
        observers = [to_stream(stream, "text"), to_stream(stream, "json")]
        for observe in observers:
            globalLogPublisher.addObserver(observe)
            self.addCleanup(globalLogPublisher.removeObserver, observe)
        token = self.use_a_node()
        written = stream.getvalue()
        self.assertIn("founded", written)
        self.assertIn("a defect", written)
        self.assertNotIn("treasure", written)
        self.assertNotIn(token, written)

    def use_a_node(self) -> str:
        """Write, read and delete at a node until it breaks; returns a token that it gave out."""
        clock, address = Clock(), "10.0.0.1:8090"
        replica = Replica(Identity(address, b"i" * 16, 1))
        node = Node(replica, clock, lambda: 10**12, MemoryStorage(), NoPeers(), b"secret", Logger().critical)
        node.start(replica.start(Saved(), founding_configuration([address], 1), (), node.now()))
        asked = [node.ask(request) for request in (Put("k", b'"treasure"', EMPTY), Get("k", EMPTY))]
        asked.append(node.ask(Put("k", None, EMPTY)))
        clock.pump([0.1] * 20)
        outcomes = [self.successResultOf(answered) for answered in asked]
        assert isinstance(outcomes[0], Written)
        token = node.tokens.encode(outcomes[0].token)
        replica.serving.attempt = self.broken  # type: ignore[assignment, method-assign]
        node.ask(Put("k", b'"treasure"', node.tokens.decode(token)))
        clock.advance(0)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        return token

    @staticmethod
    def broken(*_: object) -> None:
        """Serve nothing any more."""
        raise ValueError("a defect")
