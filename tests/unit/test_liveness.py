"""The failure detector: who is avoided, who is trusted again, and who is in the view."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.limits import Limits
from kvsd.replication.liveness import Fate, Liveness

ME, ANNA, BERT = "10.0.0.1:8090", "10.0.0.2:8090", "10.0.0.10:8090"
BEAT = 0.3


class LivenessCase(SynchronousTestCase):
    """A node with two peers, at a time that the test moves."""

    def setUp(self) -> None:
        """Watch two peers."""
        self.now = 1000.0
        self.liveness = Liveness(ME, Limits())
        self.liveness.watch([ME, ANNA, BERT], self.now)
        self.suspected: list[str] = []
        self.trusted: list[str] = []

    def beat(self, *peers: str) -> None:
        """Hear a heartbeat of these peers now."""
        for peer in peers:
            self.liveness.heard(peer, self.now)
            self.liveness.peers[peer].beat(self.now, BEAT)

    def run_for(self, seconds: float, *beating: str, gap: float = BEAT) -> None:
        """Let time pass in ticks, while some peers send heartbeats at their gap."""
        start, beats = self.now, 0
        for tick in range(1, round(seconds * 10) + 1):
            self.now = start + tick / 10
            if self.now - start >= (beats + 1) * gap - 1e-6:
                beats += 1
                self.beat(*beating)
            suspected, trusted = self.liveness.tick(self.now)
            self.suspected += suspected
            self.trusted += trusted

    def state(self, peer: str) -> str:
        """A peer's state in a word."""
        return self.liveness.state(peer, self.now)


class SuspicionTests(LivenessCase):
    """Who is avoided."""

    def test_peer_that_was_never_heard(self) -> None:
        """Of a peer that was never heard nothing is known, so nothing is sent to it but heartbeats."""
        self.run_for(5.0)
        self.assertEqual(("unknown", False, []), (self.state(ANNA), self.liveness.peers[ANNA].usable, self.suspected))
        self.assertFalse(self.liveness.posted(ANNA, Fate.FAILED, self.now))
        self.assertEqual([ME], self.liveness.view(self.now))

    def test_first_word_is_enough(self) -> None:
        """A peer is alive from the first word heard of it."""
        self.beat(ANNA)
        self.assertEqual(("alive", True), (self.state(ANNA), self.liveness.peers[ANNA].usable))

    def test_silence(self) -> None:
        """A peer that falls silent is suspected after a second, once, and is down after three."""
        self.run_for(3.0, ANNA, BERT)
        self.run_for(0.9, BERT)
        self.assertEqual([], self.suspected)
        self.run_for(0.3, BERT)
        self.assertEqual(
            ([ANNA], "suspect", False), (self.suspected, self.state(ANNA), self.liveness.peers[ANNA].usable)
        )
        self.assertIn(ANNA, self.liveness.view(self.now))
        self.run_for(2.0, BERT)
        self.assertEqual(([ANNA], "down", [ME, BERT]), (self.suspected, self.state(ANNA), self.liveness.view(self.now)))

    def test_irregular_heartbeats(self) -> None:
        """A peer whose heartbeats are irregular is given more time than one that is punctual, but not for ever."""
        for _ in range(8):
            self.run_for(0.1, ANNA, gap=0.1)
            self.run_for(0.9, ANNA, gap=0.9)
        self.assertEqual([], self.suspected)
        self.run_for(1.3)
        self.assertEqual([], self.suspected)
        self.run_for(1.8)
        self.assertEqual([ANNA], self.suspected)

    def test_failed_message(self) -> None:
        """A message that got no answer makes its peer suspect at once, and only the first one is news."""
        self.run_for(1.0, ANNA)
        self.assertEqual(
            [True, False],
            [self.liveness.posted(ANNA, Fate.FAILED, self.now), self.liveness.posted(ANNA, Fate.FAILED, self.now)],
        )
        self.assertFalse(self.liveness.peers[ANNA].usable)
        self.assertFalse(self.liveness.posted("10.9.9.9:1", Fate.FAILED, self.now))

    def test_peer_that_is_heard_and_slow(self) -> None:
        """One POST that is late says nothing while the peer is heard; a second one in a row does."""
        self.beat(ANNA)
        fates = [Fate.LATE, Fate.ANSWERED, Fate.LATE, Fate.LATE]
        self.assertEqual([False, False, False, True], [self.liveness.posted(ANNA, fate, self.now) for fate in fates])

    def test_own_pause_is_forgiven(self) -> None:
        """After a pause of this node itself nobody is suspected for the silence in it, nor out of the view."""
        self.run_for(1.0, ANNA, BERT)
        self.now += 60.0
        self.assertEqual(([], []), self.liveness.tick(self.now))
        self.assertEqual([ME, ANNA, BERT], self.liveness.view(self.now))
        self.run_for(1.5, BERT)
        self.assertEqual([ANNA], self.suspected)


class DampingTests(LivenessCase):
    """A peer is trusted again only once its link has been good for a while."""

    def setUp(self) -> None:
        """Have one peer suspected."""
        super().setUp()
        self.run_for(1.0, ANNA, BERT)
        self.run_for(1.5, BERT)
        self.assertEqual([ANNA], self.suspected)

    def test_trusted_after_two_good_seconds(self) -> None:
        """A suspected peer that is heard again is trusted after two seconds, once."""
        self.beat(ANNA)
        self.run_for(1.9, ANNA, BERT)
        self.assertEqual(([], "suspect"), (self.trusted, self.state(ANNA)))
        self.run_for(0.2, ANNA, BERT)
        self.assertEqual(([ANNA], "alive"), (self.trusted, self.state(ANNA)))

    def test_failed_message_starts_the_time_anew(self) -> None:
        """A message that fails while a peer is on probation starts the two seconds anew."""
        self.beat(ANNA)
        self.run_for(1.5, ANNA, BERT)
        self.liveness.posted(ANNA, Fate.FAILED, self.now)
        self.run_for(1.9, ANNA, BERT)
        self.assertEqual([], self.trusted)
        self.run_for(0.6, ANNA, BERT)
        self.assertEqual([ANNA], self.trusted)


class ViewTests(LivenessCase):
    """Who is in the view."""

    def test_hearsay(self) -> None:
        """A node that others hear stays in the view, but is not used by one who does not hear it."""
        self.run_for(1.0, ANNA, BERT)
        for _ in range(10):
            self.liveness.hearsay({ANNA: 100}, self.now)
            self.run_for(0.5, BERT)
        self.assertEqual([ME, ANNA, BERT], self.liveness.view(self.now))
        self.assertEqual(("suspect", False), (self.state(ANNA), self.liveness.peers[ANNA].usable))
        self.run_for(3.2, BERT)
        self.assertEqual(([ME, BERT], "down"), (self.liveness.view(self.now), self.state(ANNA)))

    def test_old_hearsay(self) -> None:
        """That others heard of a node long ago says nothing, nor does what is said of strangers."""
        self.run_for(1.0, ANNA, BERT)
        self.run_for(3.5, BERT)
        self.liveness.hearsay({ANNA: 3100, ME: 0, "10.9.9.9:1": 0}, self.now)
        self.assertEqual([ME, BERT], self.liveness.view(self.now))

    def test_hearsay_of_a_node_that_was_never_heard(self) -> None:
        """A node that only others hear is in the view and can't be used."""
        self.liveness.hearsay({ANNA: 200}, self.now)
        self.assertEqual([ME, ANNA], self.liveness.view(self.now))
        self.assertEqual(("unknown", False), (self.state(ANNA), self.liveness.peers[ANNA].usable))

    def test_view_is_sorted_by_number(self) -> None:
        """10.0.0.2 stands before 10.0.0.10, and this node is always in its own view."""
        self.beat(BERT, ANNA)
        self.assertEqual([ME, ANNA, BERT], self.liveness.view(self.now))

    def test_silences(self) -> None:
        """What is told to others is for how many milliseconds each peer was not heard directly."""
        self.run_for(1.0, ANNA)
        self.liveness.hearsay({BERT: 5}, self.now)
        self.now += 0.25
        [(peer, milliseconds)] = self.liveness.silences(self.now).items()
        self.assertEqual(ANNA, peer)
        self.assertTrue(250 <= milliseconds <= 600)

    def test_other_nodes_are_watched_from_now_on(self) -> None:
        """What is known of a node outlasts a change of those to be watched; who is not among them is forgotten."""
        self.beat(ANNA, BERT)
        self.liveness.watch([ME, ANNA, "10.0.0.3:8090"], self.now)
        self.assertEqual([ANNA, "10.0.0.3:8090"], list(self.liveness.peers))
        self.assertEqual(("alive", "unknown"), (self.state(ANNA), self.state("10.0.0.3:8090")))

    def test_node_that_is_new_among_others_is_taken_to_be_up_at_first(self) -> None:
        """One that joins others is in the view until it was silent for long; the first ones are not, unheard."""
        self.assertEqual([ME], self.liveness.view(self.now))
        self.liveness.watch([ME, ANNA, BERT, "10.0.0.3:8090"], self.now)
        self.assertEqual([ME, "10.0.0.3:8090"], self.liveness.view(self.now))
        self.assertFalse(self.liveness.peers["10.0.0.3:8090"].usable)
        self.run_for(3.1)
        self.assertEqual([ME], self.liveness.view(self.now))
