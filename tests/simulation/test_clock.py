"""Simulated time: calls come when they are due, in order, to those who are there."""

from collections.abc import Callable

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kvsd.simulate.clock import Actor, ActorClock, Clock


class ClockTests(SynchronousTestCase):
    """A clock, what was called, and when."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.called: list[tuple[str, float]] = []

    def note(self, name: str) -> Callable[[], None]:
        """A call that writes down when it came."""
        return lambda: self.called.append((name, self.clock.seconds()))

    def names(self) -> list[str]:
        """What was called."""
        return [name for name, _ in self.called]


class TimeTests(ClockTests):
    """The world's own calls."""

    def test_calls_come_in_the_order_of_their_times(self) -> None:
        """Whatever is due sooner comes sooner, at its own time."""
        for seconds in (3, 1, 2):
            self.clock.after(seconds, self.note(f"{seconds}"))
        self.clock.run(2.5)
        self.assertEqual([("1", 1.0), ("2", 2.0)], self.called)
        self.clock.run(3)
        self.assertEqual(("3", 3.0), self.called[-1])

    def test_ties_come_in_the_order_of_arrival(self) -> None:
        """What is due at the same moment comes in the order in which it was asked for."""
        for name in "cab":
            self.clock.after(1, self.note(name))
        self.clock.run(1)
        self.assertEqual(["c", "a", "b"], self.names())

    def test_a_call_may_ask_for_calls(self) -> None:
        """What a call asks for at once comes at the same time, after what was due then already."""
        self.clock.after(1, lambda: self.clock.after(0, self.note("asked for")))
        self.clock.after(1, self.note("due already"))
        self.clock.run(1)
        self.assertEqual([("due already", 1.0), ("asked for", 1.0)], self.called)

    def test_time_passes_to_the_end(self) -> None:
        """It is as late as it was to become, whether or not anything happened."""
        self.clock.run(7)
        self.assertEqual(7, self.clock.seconds())

    def test_time_never_goes_back(self) -> None:
        """What is asked for in the past happens now, and running to a time that has passed does nothing."""
        self.clock.run(5)
        self.clock.after(-3, self.note("late"))
        self.clock.at(1, self.note("later"))
        self.clock.run(4)
        self.assertEqual(5, self.clock.seconds())
        self.clock.run(5)
        self.assertEqual([("late", 5.0), ("later", 5.0)], self.called)

    def test_at(self) -> None:
        """A call can be given its time itself, free of rounding."""
        self.clock.run(0.1)
        self.clock.at(0.3, self.note("at"))
        self.clock.run(0.3)
        self.assertEqual([("at", 0.3)], self.called)


class TimerTests(ClockTests):
    """What was asked for can be called off or put off, as Twisted promises."""

    def setUp(self) -> None:
        super().setUp()
        self.timer = self.clock.after(2, self.note("timer"))

    def test_interface(self) -> None:
        """A call to come is an IDelayedCall."""
        self.assertTrue(verifyObject(IDelayedCall, self.timer))
        self.assertEqual(2, self.timer.getTime())
        self.assertTrue(self.timer.active())

    def test_cancel(self) -> None:
        """What was cancelled never comes, and can't be cancelled or put off again."""
        self.timer.cancel()
        self.assertFalse(self.timer.active())
        self.clock.run(5)
        self.assertEqual([], self.called)
        self.assertRaises(AlreadyCancelled, self.timer.cancel)
        self.assertRaises(AlreadyCancelled, self.timer.reset, 1)
        self.assertRaises(AlreadyCancelled, self.timer.delay, 1)

    def test_called(self) -> None:
        """What has come can't be called off or put off any more."""
        self.clock.run(2)
        self.assertFalse(self.timer.active())
        self.assertRaises(AlreadyCalled, self.timer.cancel)
        self.assertRaises(AlreadyCalled, self.timer.reset, 1)
        self.assertRaises(AlreadyCalled, self.timer.delay, 1)

    def test_reset(self) -> None:
        """A call that is reset comes so long after now, once, sooner or later than it would have."""
        sooner = self.clock.after(10, self.note("sooner"))
        self.clock.run(1)
        self.timer.reset(4)
        sooner.reset(2)
        self.assertEqual((5, 3), (self.timer.getTime(), sooner.getTime()))
        self.clock.run(20)
        self.assertEqual([("sooner", 3.0), ("timer", 5.0)], self.called)

    def test_delay(self) -> None:
        """A call that is delayed comes so long after it would have, once."""
        self.clock.run(1)
        self.timer.delay(4)
        self.assertEqual(6, self.timer.getTime())
        self.clock.run(20)
        self.assertEqual([("timer", 6.0)], self.called)

    def test_delayed_into_the_past(self) -> None:
        """A call that is moved to before now comes now."""
        self.clock.run(1)
        self.timer.delay(-4)
        self.clock.run(1)
        self.assertEqual([("timer", 1.0)], self.called)

    def test_a_call_can_cancel_another(self) -> None:
        """What is cancelled by a call at the same moment does not come."""
        self.clock.after(1, self.timer.cancel)
        self.timer.reset(1)
        self.clock.run(3)
        self.assertEqual([], self.called)


class ActorTests(ClockTests):
    """Calls of an actor come only while it is there, and when it has time for them."""

    def setUp(self) -> None:
        super().setUp()
        self.actor = Actor()
        self.reactor = ActorClock(self.clock, self.actor)

    def later(self, seconds: float, name: str) -> IDelayedCall:
        """Have the actor note something."""
        return self.reactor.callLater(seconds, self.note(name))

    def test_interface(self) -> None:
        """An actor's clock is an IReactorTime."""
        self.assertTrue(verifyObject(IReactorTime, self.reactor))

    def test_arguments(self) -> None:
        """A call gets the arguments that it was asked for with."""
        got: list[object] = []
        self.reactor.callLater(1, lambda *args, **kwargs: got.extend((args, kwargs)), 1, 2, three=3)
        self.clock.run(1)
        self.assertEqual([(1, 2), {"three": 3}], got)

    def test_no_calls_in_the_past(self) -> None:
        """A delay below zero is a mistake, as with Twisted."""
        self.assertRaises(ValueError, self.reactor.callLater, -1, self.note("never"))

    def test_delayed_calls(self) -> None:
        """An actor sees the calls that it has to come, soonest first, and nobody else's."""
        late, soon, gone = self.later(2, "late"), self.later(1, "soon"), self.later(1, "cancelled")
        self.clock.after(1, self.note("the world's"))
        gone.cancel()
        self.assertEqual([soon, late], self.reactor.getDelayedCalls())

    def test_looping_call(self) -> None:
        """A LoopingCall keeps its time by it."""
        loop = LoopingCall(self.note("tick"))
        loop.clock = self.reactor
        loop.start(0.5)
        self.clock.run(1.6)
        self.assertEqual([("tick", 0.0), ("tick", 0.5), ("tick", 1.0), ("tick", 1.5)], self.called)
        loop.stop()
        self.clock.run(5)
        self.assertEqual(4, len(self.called))
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_the_gone_never_act(self) -> None:
        """Nothing comes to an actor that is gone; others go on."""
        self.later(1, "gone")
        self.clock.after(1, self.note("the world's"))
        self.actor.gone = True
        self.clock.run(5)
        self.assertEqual(["the world's"], self.names())

    def test_a_pause(self) -> None:
        """What comes due while an actor stands still comes when it goes on, in order, and before what is due later."""
        for seconds in (3, 1, 2, 9):
            self.later(seconds, f"{seconds}")
        self.actor.paused = True
        self.clock.run(5)
        self.assertEqual([], self.called)
        self.clock.resume(self.actor)
        self.clock.run(10)
        self.assertEqual([("1", 5.0), ("2", 5.0), ("3", 5.0), ("9", 9.0)], self.called)

    def test_cancelled_in_a_pause(self) -> None:
        """What was cancelled or put off while an actor stood still does not come when it goes on."""
        cancelled, put_off = self.later(1, "cancelled"), self.later(1, "put off")
        self.later(1, "kept")
        self.actor.paused = True
        self.clock.run(5)
        cancelled.cancel()
        put_off.reset(3)
        self.clock.resume(self.actor)
        self.clock.run(10)
        self.assertEqual([("kept", 5.0), ("put off", 8.0)], self.called)

    def test_cancelled_after_a_pause(self) -> None:
        """What is cancelled by the first call after a pause does not come."""
        self.later(1, "first")
        second = self.later(2, "second")
        self.clock.after(0.5, lambda: setattr(self.actor, "paused", True))
        self.reactor.callLater(1, second.cancel)
        self.clock.run(5)
        self.clock.resume(self.actor)
        self.clock.run(10)
        self.assertEqual(["first"], self.names())

    def test_gone_in_a_pause(self) -> None:
        """An actor that ended while it stood still never acts again."""
        self.later(1, "gone")
        self.actor.paused = True
        self.clock.run(5)
        self.actor.gone = True
        self.clock.resume(self.actor)
        self.clock.run(10)
        self.assertEqual([], self.called)

    def test_a_lag(self) -> None:
        """Every call keeps a slow actor busy for a while, and the next ones queue up behind it in their order."""
        self.actor.lag = 1.0
        for seconds in (1.0, 1.5, 1.75, 6.0):
            self.later(seconds, f"{seconds}")
        self.clock.run(10)
        self.assertEqual([("1.0", 1.0), ("1.5", 2.0), ("1.75", 3.0), ("6.0", 6.0)], self.called)

    def test_after_a_lag(self) -> None:
        """An actor that is fast again still ends what it was busy with."""
        self.actor.lag = 2.0
        self.later(1, "slow")
        self.clock.run(1)
        self.actor.lag = 0.0
        self.assertTrue(self.actor.is_busy(2))
        self.later(0.5, "next")
        self.later(0.5, "and the one after it")
        self.clock.run(9)
        self.assertEqual([("slow", 1.0), ("next", 3.0), ("and the one after it", 3.0)], self.called)
        self.assertFalse(self.actor.is_busy(9))

    def test_busy(self) -> None:
        """An actor that stands still or is slow has no time for what comes."""
        self.assertFalse(self.actor.is_busy(0))
        self.actor.lag = 0.1
        self.assertTrue(self.actor.is_busy(0))
        self.actor.lag, self.actor.paused = 0.0, True
        self.assertTrue(self.actor.is_busy(0))
