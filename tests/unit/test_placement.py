"""Where keys live, and in which order addresses stand."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.configuration import founding_configuration
from kvsd.replication.placement import SLOTS, address_order, slot_of
from tests.builders import modest

VIEW = [f"10.0.0.{number}:8090" for number in range(1, 9)]


class SlotTests(SynchronousTestCase):
    """The slot of a key."""

    def test_keys_spread_evenly(self) -> None:
        """600 keys named key0 to key599 spread over 2, 3 and 4 shards to within a quarter of the mean."""
        for shards in (2, 3, 4):
            configuration = founding_configuration(VIEW, shards)
            counts = dict.fromkeys(configuration.shard_ids(), 0)
            for number in range(600):
                counts[configuration.owner(slot_of(f"key{number}"))[1]] += 1
            mean = 600 / shards
            self.assertTrue(all(0.75 * mean <= count <= 1.25 * mean for count in counts.values()), counts)

    def test_the_hash_is_fixed_for_ever(self) -> None:
        """Data on disk is found by the slots of its keys, so these never change."""
        self.assertEqual([3092, 3234, 221], [slot_of(key) for key in ("", "key0", "käse/€")])

    @modest
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
    def test_every_key_has_a_slot(self, key: str) -> None:
        """Any text has a slot."""
        self.assertIn(slot_of(key), range(SLOTS))

    def test_keys_of_one_tag_live_together(self) -> None:
        """A key with a {tag} is placed by the tag alone, and by the first one if there are more."""
        for key in ("{user7}", "cart{user7}", "{user7}name", "a{user7}b{other}", "}{user7}"):
            self.assertEqual(slot_of("user7"), slot_of(key), key)

    def test_what_is_no_tag(self) -> None:
        """An empty tag, one that never ends and a lone brace are letters like any others."""
        for key in ("cart{}", "cart{user7", "cart}user7", "{}{user7}", "{", "}"):
            alike = {slot_of(key), slot_of(key + "x")}
            self.assertEqual(2, len(alike), key)
        self.assertNotEqual(slot_of("user7"), slot_of("cart{}{user7}"))


class AddressOrderTests(SynchronousTestCase):
    """The order of addresses."""

    def test_addresses_are_sorted_by_number(self) -> None:
        """10.0.0.2 comes before 10.0.0.10, and port 90 before port 8090."""
        order = ["9.9.9.9:1", "10.0.0.2:90", "10.0.0.2:8090", "10.0.0.10:80", "10.0.1.1:80"]
        backwards = order[::-1]
        self.assertEqual(order, sorted(backwards, key=address_order))

    @modest
    @given(st.lists(st.text(":.0189ab", max_size=12), max_size=6))
    def test_any_texts_can_be_sorted(self, texts: list[str]) -> None:
        """What is not an address has its place too, the same one each time."""
        backwards = texts[::-1]
        self.assertEqual(sorted(texts, key=address_order), sorted(backwards, key=address_order))
