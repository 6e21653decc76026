"""The hybrid logical clock follows causality whatever the clock on the wall does."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.hlc import COUNTER_BITS, HybridClock
from tests.builders import MAX_HLC, modest


class HybridClockTests(SynchronousTestCase):
    """Stamps only ever grow."""

    @modest
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**46)), max_size=20))
    def test_every_stamp_is_larger_than_all_before(self, events: list[tuple[bool, int]]) -> None:
        """A stamp is larger than all that were issued or witnessed before it, even where the wall's clock goes back."""
        clock, seen = HybridClock(), 0
        for witnessed, number in events:
            if witnessed:
                clock.witness(number << 10)
                seen = max(seen, number << 10)
            else:
                stamp = clock.tick(number)
                self.assertGreater(stamp, seen)
                seen = stamp

    def test_stamp_is_near_to_real_time(self) -> None:
        """A stamp's upper bits are the milliseconds of the clock on the wall, once that is ahead."""
        clock = HybridClock()
        self.assertEqual(1_800_000_000_000, clock.tick(1_800_000_000_000) >> COUNTER_BITS)
        self.assertEqual(1_800_000_000_000, clock.tick(1_800_000_000_000) >> COUNTER_BITS)
        self.assertEqual(1_800_000_000_001, clock.tick(1_800_000_000_001) >> COUNTER_BITS)

    def test_clock_on_the_wall_that_is_behind(self) -> None:
        """Where the wall's clock is behind what was witnessed, or before 1970, stamps go on counting."""
        clock = HybridClock(latest=1000 << COUNTER_BITS)
        self.assertEqual((1000 << COUNTER_BITS) + 1, clock.tick(999))
        self.assertEqual((1000 << COUNTER_BITS) + 2, clock.tick(-5))

    def test_older_stamps_are_witnessed_without_effect(self) -> None:
        """Witnessing what is older changes nothing."""
        clock = HybridClock(latest=MAX_HLC)
        clock.witness(1)
        self.assertEqual(MAX_HLC, clock.latest)
