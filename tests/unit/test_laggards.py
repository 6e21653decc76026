"""Members that stay behind are named, in the log and to whoever asks; others never are."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.insight import Insight
from kvsd.replication.messages import PullOps, Push
from tests.pure import PureCluster


class LaggardsTests(SynchronousTestCase):
    """Three replicas, of which one may not get what is written."""

    def setUp(self) -> None:
        self.cluster = PureCluster(3, 1).founded()
        self.node, self.peer, self.third = self.cluster.members("s0")

    def starve(self) -> None:
        """Let heartbeats through to a peer, and no writes."""
        self.cluster.cut = lambda _, receiver, message: receiver == self.peer and isinstance(message, Push | PullOps)

    def write(self, seconds: float) -> None:
        """Write something every second."""
        for number in range(round(seconds)):
            self.cluster.put(self.node, f"key{number}", "value")
            self.cluster.run(1.0)

    def behind(self, address: str) -> list[str]:
        """Who is behind, as a node has it."""
        site = self.cluster.sites[address]
        return Insight(site.replica, lambda: self.cluster.now(site)).behind()

    def notes(self, address: str, event: str) -> list[dict[str, object]]:
        """What a node told the operator of one kind."""
        return [note.facts for note in self.cluster.sites[address].notes if note.event == event]

    def test_who_stays_behind_is_named(self) -> None:
        """After ten seconds every member names it, itself too, once in the log; not any more once it keeps up."""
        self.starve()
        self.write(9)
        self.assertEqual([self.behind(address) for address in (self.node, self.peer)], [[], []])
        self.write(4)
        words = "has lacked writes of s0 for 1"
        for address, name in ((self.node, self.peer), (self.third, self.peer), (self.peer, "this node")):
            (told,) = self.behind(address)
            self.assertTrue(told.startswith(f"{name} {words}"), told)
            (note,) = self.notes(address, "member-behind")
            self.assertEqual((note["peer"], note["shard"]), (self.peer, "s0"))
            self.assertGreater(int(str(note["lacks"])), 10)
        self.cluster.heal()
        self.write(6)
        for address in (self.node, self.peer, self.third):
            self.assertEqual(self.behind(address), [])
            self.assertEqual(self.notes(address, "member-caught-up"), [{"peer": self.peer, "shard": "s0"}])

    def test_who_keeps_up_is_not_named(self) -> None:
        """A member that lacks the latest writes all the time, but none for long, is not behind."""
        self.write(25)
        self.assertEqual([self.behind(address) for address in (self.node, self.peer, self.third)], [[], [], []])
        self.assertEqual(self.notes(self.node, "member-behind"), [])

    def test_who_is_down_is_not_named(self) -> None:
        """A member that is down lacks all that is written, which is no news."""
        self.cluster.crash(self.peer)
        self.write(20)
        self.assertEqual((self.behind(self.node), self.notes(self.node, "member-behind")), ([], []))
