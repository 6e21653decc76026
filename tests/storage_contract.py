"""What every storage promises, as tests that each implementation passes."""

from abc import abstractmethod
from collections.abc import Callable

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from kvsd.entries import TABLES, Entry, Table
from kvsd.ports import Storage, StorageError


def put(key: bytes, value: bytes, table: Table = "rows") -> Entry:
    """A change that sets key to value."""
    return table, key, value


def remove(key: bytes, table: Table = "rows") -> Entry:
    """A change that removes key."""
    return table, key, None


class StorageContract(TestCase):
    """Subclasses say how to make an empty storage, and how to open one again."""

    # A base class without a name for trial: only what subclasses it in a test module is run.

    @abstractmethod
    def make_storage(self) -> Storage:
        """A new, empty storage."""

    @abstractmethod
    def open_again(self, storage: Storage) -> Storage:
        """A storage that begins with what the closed storage held."""

    def setUp(self) -> None:
        self.storage = self.make_storage()
        self.addCleanup(self.storage.close)

    def rows(self, table: Table = "rows") -> list[tuple[bytes, bytes]]:
        """All entries of a table as the storage lists them."""
        return list(self.storage.load(table))

    def test_a_new_storage_is_empty(self) -> None:
        """Nothing is stored before the first commit, not even anything of the storage's own."""
        self.assertEqual([self.rows(table) for table in TABLES], [[], [], []])

    def test_there_is_room(self) -> None:
        """A new storage has room for more."""
        self.assertTrue(self.storage.has_room())

    async def test_what_is_committed_can_be_loaded(self) -> None:
        """A committed entry is listed with the value it was given."""
        await self.storage.commit([put(b"tea", b"oolong")])
        self.assertEqual(self.rows(), [(b"tea", b"oolong")])

    async def test_keys_are_ordered_as_unsigned_bytes(self) -> None:
        """Entries are listed by key: shorter before longer, byte 255 last, the empty key first."""
        keys = [b"", b"\x00", b"\x00\x00", b"a", b"a\x00", b"aa", b"b", b"\x7f", b"\x80", b"\xff", b"\xff\xff"]
        await self.storage.commit([put(key, b"v" + key) for key in reversed(keys)])
        self.assertEqual(self.rows(), [(key, b"v" + key) for key in keys])

    async def test_tables_are_apart(self) -> None:
        """The same key may stand in every table, and removing it from one leaves the others alone."""
        await self.storage.commit([put(b"k", table.encode(), table) for table in TABLES])
        await self.storage.commit([remove(b"k", "ops")])
        self.assertEqual([self.rows(table) for table in TABLES], [[(b"k", b"meta")], [(b"k", b"rows")], []])

    async def test_a_removed_entry_is_gone(self) -> None:
        """A change without a value removes the entry; removing what is not there is no error."""
        await self.storage.commit([put(b"a", b"1"), put(b"b", b"2")])
        await self.storage.commit([remove(b"a"), remove(b"never there")])
        self.assertEqual(self.rows(), [(b"b", b"2")])

    async def test_an_empty_value_is_a_value(self) -> None:
        """Setting a key to no bytes at all is not the same as removing it."""
        await self.storage.commit([put(b"a", b"")])
        self.assertEqual(self.rows(), [(b"a", b"")])

    async def test_the_last_change_of_a_key_wins(self) -> None:
        """Within one commit, a later change of a key replaces an earlier one, whichever sets and whichever removes."""
        await self.storage.commit([put(b"a", b"1"), put(b"a", b"2"), put(b"b", b"3"), remove(b"b")])
        await self.storage.commit([remove(b"c"), put(b"c", b"4")])
        self.assertEqual(self.rows(), [(b"a", b"2"), (b"c", b"4")])

    async def test_commits_take_effect_in_order(self) -> None:
        """Commits made without waiting end in the order they were made, and the last value stays."""
        ended: list[int] = []

        def note(number: int) -> Callable[[None], None]:
            return lambda _: ended.append(number)

        await gatherResults(
            [self.storage.commit([put(b"k", b"%d" % number)]).addCallback(note(number)) for number in range(300)]
        )
        self.assertEqual(ended, list(range(300)))
        self.assertEqual(self.rows(), [(b"k", b"299")])

    async def test_a_commit_of_nothing_ends(self) -> None:
        """A commit without changes succeeds."""
        await self.storage.commit([])
        self.assertEqual(self.rows(), [])

    async def test_changes_are_taken_when_committed(self) -> None:
        """What the caller does to its list after the call has no effect."""
        changes = [put(b"a", b"1")]
        commit = self.storage.commit(changes)
        changes.append(put(b"b", b"2"))
        await commit
        self.assertEqual(self.rows(), [(b"a", b"1")])

    async def test_a_large_table_is_listed_whole(self) -> None:
        """Thousands of entries and large values come back complete and in order."""
        small = [(b"%06d" % number, b"v%d" % number) for number in range(3000)]
        large = [(b"large", bytes(range(256)) * 4096)]
        await self.storage.commit([put(key, value) for key, value in small + large])
        await self.storage.commit([put(b"other", b"table", "ops")])
        self.assertEqual(self.rows(), small + large)

    async def test_a_listing_begun_does_not_keep_the_storage_open(self) -> None:
        """Whoever stops in the middle of a table does not stop the storage from being closed and opened again."""
        await self.storage.commit([put(b"%06d" % number, b"v") for number in range(3000)])
        listing = iter(self.storage.load("rows"))
        next(listing)
        await self.storage.close()
        self.storage = self.open_again(self.storage)
        self.addCleanup(self.storage.close)
        self.assertEqual(len(self.rows()), 3000)

    async def test_what_was_committed_is_there_when_opened_again(self) -> None:
        """Closing waits for the commits before it, and the next storage begins with all that was committed."""
        ended: list[str] = []
        commit = self.storage.commit([put(b"a", b"1"), put(b"b", b"2", "meta")])
        noted = commit.addCallback(lambda _: ended.append("commit"))
        await self.storage.close()
        self.assertEqual(ended, ["commit"])
        await noted
        self.storage = self.open_again(self.storage)
        self.addCleanup(self.storage.close)
        self.assertEqual([self.rows(table) for table in TABLES], [[(b"b", b"2")], [(b"a", b"1")], []])
        await self.storage.commit([remove(b"a")])
        self.assertEqual(self.rows(), [])

    async def test_what_is_committed_can_be_read(self) -> None:
        """The value under a key is read as it was committed last; nothing is read where nothing is, in any table."""
        self.assertIsNone(self.storage.get("rows", b"a"))
        await self.storage.commit([put(b"a", b"1"), put(b"", b"empty"), put(b"b", b""), put(b"a", b"ops", "ops")])
        found = [self.storage.get("rows", key) for key in (b"a", b"", b"b", b"a\0")]
        self.assertEqual([b"1", b"empty", b"", None], found)
        self.assertEqual([b"ops", None], [self.storage.get(table, b"a") for table in ("ops", "meta")])
        await self.storage.commit([put(b"a", b"2"), remove(b"b")])
        self.assertEqual([b"2", None], [self.storage.get("rows", key) for key in (b"a", b"b")])

    async def test_ranges(self) -> None:
        """The entries from one key to another are listed in order, without the other, and no more than were asked for."""
        keys = [b"", b"a", b"a\x00", b"aa", b"b", b"b\xff", b"c", b"\xff"]
        await self.storage.commit([put(key, b"v" + key) for key in reversed(keys)])
        await self.storage.commit([put(b"a", b"other", "meta"), put(b"a", b"other", "ops")])
        for start, end, at_most in ((b"a", b"b", 9), (b"", b"b", 9), (b"a", b"b\xff", 3), (b"b\xfe", b"\xff", 9)):
            expected = [(key, b"v" + key) for key in keys if start <= key < end][:at_most]
            self.assertEqual(expected, self.storage.scan("rows", start, end, at_most))
        self.assertEqual([], self.storage.scan("rows", b"d", b"e", 9))

    async def test_ranges_follow_the_changes(self) -> None:
        """After each change the next listing of a range has it: what came, what went, and what came back."""
        keys = [b"%02d" % number for number in range(20)]
        there = set(keys[::2])
        await self.storage.commit([put(key, b"v") for key in keys[::2]])
        for number in range(60):
            key = keys[number * 7 % 20]
            await self.storage.commit([remove(key) if key in there else put(key, b"v")])
            there ^= {key}
            listed = self.storage.scan("rows", b"03", b"17", 99)
            self.assertEqual(sorted(key for key in there if b"03" <= key < b"17"), [key for key, _ in listed])

    async def test_reading_while_commits_are_under_way(self) -> None:
        """A commit that is under way may be seen or not, but whole, and one that is done is seen."""
        commits = [self.storage.commit([put(b"a", b"%d" % n), put(b"b", b"%d" % n)]) for n in range(1, 50)]
        while not commits[-1].called:
            before = sum(commit.called for commit in commits)
            first, second = (int(self.storage.get("rows", key) or 0) for key in (b"a", b"b"))
            self.assertTrue(before <= first <= second, (before, first, second))
            await commits[before]
        self.assertEqual([(b"a", b"49"), (b"b", b"49")], self.storage.scan("rows", b"a", b"c", 9))

    async def test_no_reading_after_closing(self) -> None:
        """A closed storage is not read: what it would say may be old by then."""
        await self.storage.commit([put(b"a", b"1")])
        await self.storage.close()
        self.assertRaises(StorageError, self.storage.get, "rows", b"a")
        self.assertRaises(StorageError, self.storage.scan, "rows", b"a", b"b", 1)

    async def test_no_commit_after_closing(self) -> None:
        """A commit to a closed storage fails; it is never silently dropped."""
        await self.storage.close()
        with self.assertRaises(StorageError):
            await self.storage.commit([put(b"a", b"1")])

    async def test_closing_twice_does_nothing(self) -> None:
        """Whoever closes a storage that is closing waits too; closing a closed one ends at once."""
        await gatherResults([self.storage.close(), self.storage.close()])
        self.successResultOf(self.storage.close())
