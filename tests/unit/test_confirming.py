"""Confirming what another node told: never where it may be another thing by now, and with few messages."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication import confirming
from kvsd.replication.basis import AskChanges, Basis, Confirm, Confirmed, TellChanges
from kvsd.replication.confirming import Heard
from kvsd.replication.messages import Message
from kvsd.replication.requests import Absent, Found, Get, Outcome
from kvsd.replication.token import EMPTY
from tests.pure import PureCluster, Watched, with_limits


class HeardTests(SynchronousTestCase):
    """What was heard of one node's changes."""

    @given(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6),
        st.integers(0, 12),
        st.integers(1, 3),
    )
    def test_whatever_is_heard_in_any_order(
        self, tale: list[str], parts: list[tuple[int, int]], first: int, room: int
    ) -> None:
        """Parts of the tale, in any order and more than once: what is confirmed is so up to the change that is named."""
        self.patch(confirming, "MAX_HEARD", room)
        heard = Heard(7, min(first, len(tale)))
        for since, count in parts:
            if since <= count <= len(tale):
                changed = {key: number for number, key in enumerate(tale[:count], 1) if number > since}
                heard.learn(since, count, changed)
            for changes in range(len(tale) + 1):
                for key in "abc":
                    if heard.confirms(Confirm(key, Basis("node", 7, changes))):
                        self.assertNotIn(key, tale[changes : heard.ceiling])

    def test_another_outlook(self) -> None:
        """What was told under another outlook is not confirmed."""
        heard = Heard(7, 3)
        self.assertTrue(heard.confirms(Confirm("a", Basis("node", 7, 3))))
        self.assertFalse(heard.confirms(Confirm("a", Basis("node", 6, 3))))


class ConfirmingTests(SynchronousTestCase):
    """Two shards; a node of one was told of keys of the other."""

    def setUp(self) -> None:
        self.cluster = PureCluster().founded()
        self.keys = [self.cluster.key_of("s0", f"key{number}") for number in range(4)]
        self.edge = self.cluster.members("s1")[0]
        self.other = self.cluster.members("s0")[0]
        for key in self.keys[:3]:
            self.cluster.put(self.other, key, "1")
        self.cluster.run(2.0)
        self.told = {key: self.read(key) for key in self.keys}
        [self.teller] = {basis.node for basis in self.told.values()}
        self.cluster.sent.clear()

    def read(self, key: str) -> Basis:
        """What the outcome of a read at the edge rests on."""
        outcome = self.cluster.get(self.edge, key)
        assert isinstance(outcome, Found | Absent) and outcome.basis is not None
        return outcome.basis

    def confirm(self, *keys: str) -> list[Outcome | None]:
        """Whether all of that is still so, asked in one event."""
        tickets = self.cluster.submit_all(self.edge, *[Confirm(key, self.told[key]) for key in keys])
        return [self.cluster.sites[self.edge].outcomes.get(ticket) for ticket in tickets]

    def said(self, kind: type[Message]) -> list[Message]:
        """All messages of a kind since the last call."""
        sent = [message for _, _, message in self.cluster.sent if isinstance(message, kind)]
        self.cluster.sent.clear()
        return sent

    def test_still_so(self) -> None:
        """All that is asked in one event shares a message; a key that has no value is as good as another."""
        self.assertEqual(self.confirm(*self.keys), [Confirmed(3)] * 4)
        self.assertEqual(self.confirm(*self.keys), [Confirmed(3)] * 4)
        self.assertEqual(len(self.said(AskChanges)), 2)

    def test_written_since(self) -> None:
        """What was written since is not so any more, whoever wrote it; all else is, and later too."""
        first, second, third, absent = self.keys
        self.cluster.put(self.other, second, "2")
        self.cluster.put(self.other, absent, "2")
        self.assertEqual(self.confirm(*self.keys), [Confirmed(5), Confirmed(None), Confirmed(5), Confirmed(None)])
        self.cluster.put(self.other, third, None)
        self.assertEqual(self.confirm(*self.keys), [Confirmed(6), Confirmed(None), Confirmed(None), Confirmed(None)])
        [_, again] = [told for told in self.said(TellChanges) if isinstance(told, TellChanges)]
        self.assertEqual(set(again.changed or ()), {third})
        self.cluster.run(2.0)
        self.told[second] = self.read(second)
        self.assertEqual(self.confirm(first, second), [Confirmed(7), Confirmed(7)])  # a tombstone has gone meanwhile

    def test_answer_out_of_order(self) -> None:
        """A read that was told of before a change is not confirmed, even if the change was heard of before that."""
        first, second, *_ = self.keys
        self.cluster.put(self.other, second, "2")
        old = self.told[second]
        self.confirm(first)
        self.told[second] = old
        self.assertEqual(self.confirm(second), [Confirmed(None)])
        self.told[first] = old._replace(changes=0)  # from before all that was heard
        self.assertEqual(self.confirm(first), [Confirmed(None)])

    def test_another_run(self) -> None:
        """A node that was started again confirms nothing of before."""
        self.cluster.crash(self.teller)
        self.cluster.restart(self.teller)
        self.cluster.run(3.0)
        self.assertEqual(self.confirm(*self.keys[:2]), [Confirmed(None)] * 2)
        self.told[self.keys[0]] = self.read(self.keys[0])
        now = Confirmed(self.told[self.keys[0]].changes)
        self.assertEqual(self.confirm(*self.keys[:2]), [now, Confirmed(None)])
        self.assertEqual(self.confirm(*self.keys[1::-1]), [Confirmed(None), now])

    def test_silence(self) -> None:
        """Where no answer comes nothing is confirmed, after some time or once the node is suspected; a late one is let go."""
        limits = self.cluster.limits
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, TellChanges)
        self.assertEqual(self.confirm(self.keys[0]), [None])
        self.cluster.run(limits.forward_seconds + 2 * limits.tick_seconds)
        replica = self.cluster.sites[self.edge].replica
        self.assertEqual(len(replica.confirmations), 0)
        self.assertIn(Confirmed(None), self.cluster.sites[self.edge].outcomes.values())
        [asked] = [asked for asked in self.said(AskChanges) if isinstance(asked, AskChanges)]
        replica.confirmations.told(self.teller, TellChanges(asked.id, asked.outlook, 9, {}))
        self.assertTrue(replica.state.out.is_empty())

    def test_suspected(self) -> None:
        """A node that is suspected is not asked, and whoever waits for it is told so."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, TellChanges)
        [ticket] = self.cluster.submit_all(self.edge, Confirm(self.keys[0], self.told[self.keys[0]]))
        self.cluster.isolate(self.teller)
        self.cluster.run(self.cluster.limits.down_seconds)
        self.assertEqual(self.cluster.sites[self.edge].outcomes[ticket], Confirmed(None))
        self.cluster.sent.clear()
        self.assertEqual(self.confirm(self.keys[0]), [Confirmed(None)])
        self.assertEqual(self.said(AskChanges), [])

    def test_not_who_was_asked(self) -> None:
        """Only the node that was asked can answer."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, TellChanges)
        self.assertEqual(self.confirm(self.keys[0]), [None])
        replica = self.cluster.sites[self.edge].replica
        [asked] = [asked for asked in self.said(AskChanges) if isinstance(asked, AskChanges)]
        replica.confirmations.told(self.edge, TellChanges(asked.id, asked.outlook, 9, {}))
        self.assertEqual(len(replica.confirmations), 1)

    def test_hung_up(self) -> None:
        """Whoever has left is told nothing; the others that asked with them are."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, AskChanges)
        tickets = self.cluster.submit_all(self.edge, *[Confirm(key, self.told[key]) for key in self.keys[:2]])
        site = self.cluster.sites[self.edge]
        self.cluster.perform(site, site.replica.cancel(tickets[0]))
        self.cluster.run(self.cluster.limits.forward_seconds + 0.5)
        self.assertEqual([site.outcomes.get(ticket) for ticket in tickets], [None, Confirmed(None)])

    def test_hang_up_costs_one_look_up(self) -> None:
        """However many wait for a question, one that leaves looks at itself alone."""
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, AskChanges)
        site = self.cluster.sites[self.edge]
        tickets = [Watched(number) for number in range(1000, 1300)]
        confirm = Confirm(self.keys[0], self.told[self.keys[0]])
        asked = [(ticket, confirm) for ticket in tickets]
        self.cluster.perform(site, site.replica.submit(asked, self.cluster.now(site)))
        Watched.looks = 0
        for ticket in tickets[1:]:
            site.replica.cancel(ticket)
        self.assertLess(Watched.looks, 10 * 300)
        self.cluster.run(self.cluster.limits.forward_seconds + 0.5)
        self.assertEqual([ticket for ticket in tickets if ticket in site.outcomes], tickets[:1])

    def test_many_under_way(self) -> None:
        """Only so many questions are under way at a time; what is beyond them is not confirmed."""
        replica = self.cluster.sites[self.edge].replica
        replica.state.limits = with_limits(forwards=1)
        self.cluster.cut = lambda sender, receiver, message: isinstance(message, TellChanges)
        self.assertEqual(self.confirm(self.keys[0]), [None])
        self.assertEqual(self.confirm(self.keys[0]), [Confirmed(None)])
        self.assertEqual(len(replica.confirmations), 1)

    def test_fenced(self) -> None:
        """Who may do nothing confirms nothing."""
        self.cluster.sites[self.edge].replica.state.fenced = "why"
        [outcome] = self.confirm(self.keys[0])
        self.assertNotIsInstance(outcome, Confirmed)

    def test_unstable(self) -> None:
        """What is not everywhere yet has no basis: its token will change."""
        self.cluster.put(self.other, self.keys[0], "2")
        outcome = self.cluster.ask(self.edge, Get(self.keys[0], EMPTY))
        assert isinstance(outcome, Found)
        self.assertIsNone(outcome.basis)
