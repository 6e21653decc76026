"""The effects of an event: its write comes first, and all else names the write that it depends on."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.effects import DropRow, Effect, Halt, Note, Reply, Send, Write
from kvsd.replication.messages import Bind, Forwarded
from kvsd.replication.outbox import Outbox, Remote
from kvsd.replication.requests import Outdated, StorageFull, Unavailable
from tests.builders import A

CHANGE = DropRow(A, 0, "key")


class OutboxTests(SynchronousTestCase):
    """What an event leads to, in order."""

    def test_nothing(self) -> None:
        """An event that leads to nothing writes nothing."""
        self.assertEqual(([], 0), (Outbox().take(), Outbox().position))

    def test_changes_are_one_write(self) -> None:
        """All changes of an event are one write, before everything else whatever came first."""
        out = Outbox()
        out.send("a:1", Bind())
        self.assertEqual([1, 1], [out.keep(CHANGE), out.keep(CHANGE)])
        self.assertEqual([Write(1, [CHANGE, CHANGE]), Send(1, "a:1", Bind())], out.take())

    def test_message_waits_for_all_of_its_event_and_before(self) -> None:
        """Unless it is said otherwise a message leaves after the event's write, and after all earlier ones."""
        out = Outbox()
        out.keep(CHANGE)
        out.take()
        out.send("a:1", Bind())
        self.assertEqual([Send(1, "a:1", Bind())], out.take())
        out.send("a:1", Bind(), after=0)
        out.keep(CHANGE)
        out.send("b:1", Bind())
        self.assertEqual([Write(2, [CHANGE]), Send(0, "a:1", Bind()), Send(2, "b:1", Bind())], out.take())

    def test_answer_waits_for_all_of_its_event_and_before(self) -> None:
        """Nor does an answer leave earlier, whether the changes of its event come before it or behind; unless it says so."""
        out = Outbox()
        out.answer(7, StorageFull())
        out.keep(CHANGE)
        out.answer(8, StorageFull())
        out.answer(9, StorageFull(), after=0)
        replies = [Reply(1, 7, StorageFull()), Reply(1, 8, StorageFull()), Reply(0, 9, StorageFull())]
        self.assertEqual([Write(1, [CHANGE]), *replies], out.take())
        out.answer(7, StorageFull())
        self.assertEqual([Reply(1, 7, StorageFull())], out.take())

    def test_answer_to_a_peer_waits_as_well(self) -> None:
        """The outcome of a forwarded request goes the way of a message, by the same rule; an outdated one is none to a client."""
        out = Outbox()
        out.answer(Remote("a:1", 3), StorageFull())
        out.answer(7, Outdated("s0", 1))
        out.keep(CHANGE)
        told: list[Effect] = [Send(1, "a:1", Forwarded(3, StorageFull())), Reply(1, 7, Unavailable("s0"))]
        self.assertEqual([Write(1, [CHANGE]), *told], out.take())

    def test_position(self) -> None:
        """The position that makes everything durable so far grows with an event's first change."""
        out = Outbox()
        positions = [out.position]
        out.keep(CHANGE)
        positions.append(out.position)
        out.keep(CHANGE)
        positions.append(out.position)
        out.take()
        positions.append(out.position)
        self.assertEqual([0, 1, 1, 1], positions)

    def test_order_is_kept(self) -> None:
        """Answers, messages and notes leave in the order in which they came up."""
        out = Outbox()
        out.answer(7, StorageFull(), 0)
        out.note("event", fact=1)
        out.send("a:1", Bind(), after=0)
        out.halt("why")
        expected = [Reply(0, 7, StorageFull()), Note("event", {"fact": 1}), Send(0, "a:1", Bind()), Halt("why")]
        self.assertEqual(expected, out.take())
        self.assertEqual([], out.take())
