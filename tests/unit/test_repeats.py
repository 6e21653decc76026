"""What comes again or is gone on with: requests, tries of a write, and copies that were cut off."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.copies import Place
from kvsd.replication.messages import Forward, Message, Pull, PullRows, Push
from kvsd.replication.requests import Absent, Found, Get, Put, Unmet, Written
from kvsd.replication.token import EMPTY
from tests.pure import PureCluster


class RepeatTests(SynchronousTestCase):
    """One shard with three members."""

    def setUp(self) -> None:
        self.cluster = PureCluster(3, 1).founded()
        self.first, self.second, self.third = self.cluster.members("s0")

    def value(self, address: str) -> bytes | None:
        """The value of the key at a replica."""
        seen = self.cluster.get(address, "key")
        return seen.value if isinstance(seen, Found) else None

    def test_answer_to_a_repeat_names_the_write(self) -> None:
        """Who is told again that a write was carried out sees it everywhere from then on, like who was told at once."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push)
        for _ in range(2):
            written = self.cluster.ask(self.first, Put("key", b"1", EMPTY, request="r"))
            assert isinstance(written, Written)
            self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push | Forward)
            ticket = self.cluster.submit(self.second, Get("key", written.token))
            self.assertNotIsInstance(self.cluster.sites[self.second].outcomes.get(ticket), Absent)
            self.cluster.cut = lambda sender, receiver, message: isinstance(message, Push)

    def test_last_try_at_home_never_undoes_what_came_after_the_first(self) -> None:
        """A write that was sent on, carried out unheard and overwritten does not come back when it is done at home."""
        silenced = False

        def cut(sender: str, receiver: str, message: Message) -> bool:
            if silenced and self.first in {sender, receiver}:
                return True
            if isinstance(message, Forward):
                return receiver != self.first
            return isinstance(message, Push) and self.second == receiver

        self.cluster.cut = cut
        token = self.cluster.put(self.first, "cause", "1")
        site = self.cluster.sites[self.first]
        site.holding = True  # so that its answer is lost
        ticket = self.cluster.submit(self.second, Put("key", b'"old"', token))
        silenced = True
        site.holding = False
        self.cluster.sync(site)
        self.assertEqual(b'"old"', self.value(self.first))
        self.cluster.put(self.first, "key", '"new"')
        self.cluster.run(6.0)
        self.assertIsInstance(self.cluster.sites[self.second].outcomes[ticket], Written | Unmet)
        self.assertEqual(b'"old"', self.value(self.second))
        self.cluster.heal()
        self.cluster.run(5.0)
        self.assertEqual([b'"new"'] * 3, [self.value(a) for a in (self.first, self.second, self.third)])

    def test_copy_of_an_earlier_run_is_not_gone_on_with(self) -> None:
        """Places are numbered anew in each run, so a page of a copy that another run began would leave rows out."""
        for number in range(5):
            self.cluster.put(self.first, f"key{number}", "1")
        before = self.cluster.sites[self.first].replica.state.identity.boot
        self.cluster.crash(self.first)
        site = self.cluster.restart(self.first)
        self.cluster.run(1.0)
        place = site.replica.state.roles["s0"].store.copies.set_aside(7, Place(0, None))
        for copy, pages in ((before, 0), (site.replica.state.identity.boot, 1)):
            self.cluster.sent.clear()
            pull, sender = Pull(7, "s0", {}, copy, cursor=place), self.cluster.sender(self.cluster.sites[self.second])
            self.cluster.perform(site, site.replica.receive(sender, [pull], self.cluster.now(site)))
            self.assertEqual(pages, sum(isinstance(message, PullRows) for _, _, message in self.cluster.sent))
