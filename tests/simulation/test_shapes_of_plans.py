"""Plans: what is drawn from a seed is sound, the same each time, and has something of everything."""

from dataclasses import fields
from functools import lru_cache
from random import Random
from typing import get_args

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.limits import Limits
from kvsd.simulate.__main__ import EPISODE_SECONDS, Setting
from kvsd.simulate.faults.catalogue import KINDS
from kvsd.simulate.plan import CLIENTS, CONCERNS, FOUNDING_SECONDS, KEYS, SHAPES, Plan, Verb, draw_plan, with_concerns

EVERY = tuple(KINDS)
SEEDS = 300
ROUNDING_SECONDS = 0.002
"""Times in plans are rounded, so that people can read them."""


def draw(count: int) -> list[Plan]:
    """The plans of the first seeds, with faults of every kind."""
    return [draw_plan(seed, EVERY, seconds=10.0) for seed in range(count)]


drawn_once = lru_cache(draw)


class DrawnPlanTests(SynchronousTestCase):
    """Some hundred plans."""

    def setUp(self) -> None:
        self.plans = drawn_once(SEEDS)

    def test_a_seed_has_one_plan(self) -> None:
        """The same seed draws the same plan, another seed or episode another one."""
        self.assertEqual(self.plans[:50], draw(50))
        bare = {msgspec.json.encode(msgspec.structs.replace(plan, seed=0)) for plan in self.plans}
        self.assertEqual(SEEDS, len(bare))
        next_one = draw_plan(0, EVERY, seconds=10.0, episode=1)
        self.assertNotEqual(self.plans[0].scripts, next_one.scripts)
        self.assertNotEqual(self.plans[0].faults, next_one.faults)

    def test_kept_as_json(self) -> None:
        """A plan that is written down as JSON and read again is the same plan."""
        for plan in self.plans[:20]:
            self.assertEqual(plan, msgspec.json.decode(msgspec.json.encode(plan), type=Plan))

    def test_faults_are_in_time(self) -> None:
        """Faults begin within the plan, some of them while the cluster is founded, and end with it at the latest."""
        for plan in self.plans:
            self.assertEqual(FOUNDING_SECONDS + 10.0, plan.seconds)
            for fault in plan.faults:
                self.assertTrue(0.0 <= fault.at <= plan.seconds, fault)
                self.assertTrue(0 <= fault.seconds <= plan.seconds - fault.at + ROUNDING_SECONDS, fault)

    def test_faults_are_about_some_nodes(self) -> None:
        """A fault names several nodes or spares, each once, and has a degree between 0 and 1."""
        for plan in self.plans:
            everyone = range(plan.nodes + plan.spares)
            for fault in plan.faults:
                self.assertTrue(2 <= len(fault.nodes) == len(set(fault.nodes)) <= len(everyone), fault)
                self.assertTrue(set(fault.nodes) <= set(everyone), fault)
                self.assertTrue(0 <= fault.degree <= 1, fault)

    def test_orders(self) -> None:
        """Operators ask for all that there is to ask for, of nodes that there are; some clusters are left alone."""
        for plan in self.plans:
            for order in plan.orders:
                self.assertTrue(FOUNDING_SECONDS <= order.at <= plan.seconds, order)
                self.assertTrue({order.node, order.target} <= set(range(plan.nodes + plan.spares)), order)
            self.assertEqual(sorted(order.at for order in plan.orders), [order.at for order in plan.orders])
        self.assertEqual(set(get_args(Verb)), {order.verb for plan in self.plans for order in plan.orders})
        self.assertEqual({True, False}, {bool(plan.spares) for plan in self.plans if plan.orders})
        self.assertTrue(any(not plan.orders and not plan.spares for plan in self.plans))

    def test_concerns(self) -> None:
        """In some plans some writes are to be at several replicas; apart from that these are as they were."""
        concerned = [plan for plan in self.plans if plan.concerned]
        self.assertTrue(SEEDS / 4 < len(concerned) < 3 * SEEDS / 4)
        asking = [step for plan in self.plans for script in plan.scripts for step in script if step.w]
        self.assertEqual(set(CONCERNS), {step.w for step in asking})
        self.assertEqual({"put", "delete"}, {step.deed for step in asking})
        for plan in concerned[:20]:
            self.assertTrue(any(step.deed == "put" and not step.w for script in plan.scripts for step in script))
        self.assertEqual(self.plans[0], with_concerns(self.plans[0], Random(0), 0.0))

    def test_every_kind_of_fault(self) -> None:
        """Every kind of fault is drawn, again and again, and no other."""
        drawn = [fault.kind for plan in self.plans for fault in plan.faults]
        self.assertEqual(set(EVERY), set(drawn))
        self.assertGreater(min(drawn.count(kind) for kind in EVERY), 10)

    def test_scripts(self) -> None:
        """Clients ask nodes that there are, of clients that there are, and all clients have something to do."""
        for plan in self.plans:
            steps = [step for script in plan.scripts for step in script]
            self.assertTrue({step.node for step in steps} <= set(range(plan.nodes)))
            self.assertTrue({step.other for step in steps} <= set(range(CLIENTS)))
            self.assertTrue({step.key for step in steps if step.deed != "take"} <= {*KEYS, "x", "y", "z"})
            self.assertTrue(all(plan.scripts))
            self.assertGreater(len(plan.scripts), CLIENTS)
            self.assertTrue(all(step.after >= 0 and step.tries >= 1 and step.patience > 0 for step in steps))

    def test_every_deed(self) -> None:
        """Clients do all that clients can do, with an id and without, patiently and not."""
        steps = [step for plan in self.plans for script in plan.scripts for step in script]
        self.assertEqual({"get", "put", "delete", "watch", "take"}, {step.deed for step in steps})
        writes = [step for step in steps if step.deed in {"put", "delete"}]
        self.assertEqual({True, False}, {step.named for step in writes})
        self.assertEqual({True, False}, {step.tries > 1 for step in writes})
        self.assertEqual({True, False}, {step.wait > 0 for step in steps})
        self.assertEqual({True, False}, {step.instead for step in steps if step.deed == "take"})

    def test_shapes(self) -> None:
        """Clusters of all shapes are drawn, each with two nodes at least for a shard."""
        self.assertEqual(set(SHAPES), {(plan.nodes, plan.shards) for plan in self.plans})
        self.assertTrue(all(nodes >= 2 * shards for nodes, shards in SHAPES))

    def test_given_shape(self) -> None:
        """A shape that was asked for is kept."""
        plans = [draw_plan(seed, EVERY, (7, 3)) for seed in range(5)]
        self.assertEqual({(7, 3)}, {(plan.nodes, plan.shards) for plan in plans})

    def test_limits(self) -> None:
        """What is limited is a limit of nodes; in some plans all is as it is by default."""
        names = {name for plan in self.plans for name in plan.limits}
        self.assertTrue(names and names <= {field.name for field in fields(Limits)})
        self.assertTrue(any(not plan.limits.get(name) for name in names for plan in self.plans))

    def test_kinds(self) -> None:
        """Only the kinds that were asked for go wrong, and what clients do does not depend on them."""
        for seed in range(20):
            plan = draw_plan(seed, ("loss", "crash"), seconds=10.0)
            self.assertTrue({fault.kind for fault in plan.faults} <= {"loss", "crash"})
            self.assertEqual(self.plans[seed].scripts, plan.scripts)
            self.assertEqual([], draw_plan(seed, (), seconds=10.0).faults)


class SettingTests(SynchronousTestCase):
    """The runs that the command makes."""

    def test_episodes(self) -> None:
        """A long run is a row of episodes with one cluster, none of them too long to be judged."""
        plans = Setting(None, 1.7, EVERY).plans(5)
        self.assertEqual([0, 1, 2, 3], [plan.episode for plan in plans])
        self.assertEqual(1, len({(plan.nodes, plan.shards) for plan in plans}))
        self.assertAlmostEqual(1.7 * 60, sum(plan.seconds - FOUNDING_SECONDS for plan in plans))
        self.assertTrue(all(plan.seconds <= FOUNDING_SECONDS + EPISODE_SECONDS for plan in plans))

    def test_options(self) -> None:
        """The options name all that makes a run what it is."""
        self.assertEqual(" --minutes 5 --faults all", Setting(None, 5.0, EVERY).options())
        self.assertEqual(" --nodes 4 --shards 2 --minutes 0.5 --faults none", Setting((4, 2), 0.5, ()).options())
        self.assertEqual(
            " --minutes 0.123456789 --faults loss,stop", Setting(None, 0.123456789, ("loss", "stop")).options()
        )
