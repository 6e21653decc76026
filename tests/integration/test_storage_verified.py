"""Damage that is found while a node runs, by who reads it or in the background: the directory is marked, and refused from then on."""

import json
from threading import Event
from time import monotonic

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from kvsd.ports import StorageDamaged, StorageError
from kvsd.storage.damage import ADVICE, FILE
from kvsd.storage.rocks_storage import RocksStorage, Verifying
from kvsd.storage.verification import Verification, Verified
from tests.integration.test_storage_damage import flip
from tests.rocks_case import THIS_BOOT, RocksStorageCase
from tests.storage_contract import put

ENTRIES = 3000
PATIENCE_SECONDS = 20.0
FAST = 1 << 30


def row(number: int) -> tuple[bytes, bytes]:
    """A row that is larger than most, so that there are many blocks."""
    return b"%06d" % number, b"%d" % number * 40


class VerifiedCase(RocksStorageCase):
    """A database all of whose entries are in one table file."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        """Fill a database and close it."""
        super().setUp()
        storage = self.open()
        await storage.commit([put(*row(number)) for number in range(ENTRIES)])
        await storage.close()
        await self.open().close()  # what the log holds is in a table file now
        self.verified: list[int] = []
        self.told: Deferred[str] = Deferred()

    def damage(self) -> None:
        """Flip a byte in the middle of the largest table file."""
        self.file = max((self.directory / "db").glob("*.sst"), key=lambda file: file.stat().st_size)
        self.whole = self.file.read_bytes()
        flip(self.file, len(self.whole) // 2)

    def verifying(self, rate: int = FAST) -> RocksStorage:
        """A storage whose data is verified."""
        storage = RocksStorage(
            self.directory,
            IReactorFromThreads(reactor),
            boot_id=THIS_BOOT,
            reserve_bytes=0,
            verifying=Verifying(rate, self.verified.append, self.told.callback),
        )
        self.addCleanup(storage.close)
        return storage

    def assert_refused(self) -> None:
        """Each start is refused with a sentence that says what was found, when, and what to do."""
        for _ in range(2):
            with self.assertRaises(StorageDamaged) as caught:
                self.open()
            text = str(caught.exception)
            self.assertRegex(text, r"was found damaged at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ \(.*block checksum mismatch")
            self.assertTrue(text.startswith(str(self.directory)) and text.endswith(ADVICE), text)
            self.assertEqual(1, len(text.splitlines()))


class MarkTests(VerifiedCase):
    """A block is damaged that no start reads."""

    async def test_who_reads_damage_marks_the_directory(self) -> None:
        """The storage opens, and the first read of the block ends it; then it does not open again, mended or not."""
        self.damage()
        for number, read in enumerate((self.get_all, self.scan_all)):
            storage = self.open()
            with self.assertRaises(StorageDamaged) as caught:
                read(storage)
            await storage.close()
            self.assertIn("block checksum mismatch", str(caught.exception))
            self.assertIn("is marked as damaged and not used again: restore it, or move it away", str(caught.exception))
            self.assert_refused()
            if number:
                self.file.write_bytes(self.whole)
                self.assert_refused()
            (self.directory / FILE).unlink()
        self.assertEqual(ENTRIES, len(await self.rows()))

    def get_all(self, storage: RocksStorage) -> None:
        """Read one row after another."""
        for number in range(ENTRIES):
            self.assertEqual(row(number)[1], storage.get("rows", row(number)[0]))

    def scan_all(self, storage: RocksStorage) -> None:
        """Read all rows at once."""
        storage.scan("rows", b"", b"\xff", ENTRIES)

    def test_mark_that_is_no_mark(self) -> None:
        """Whatever stands in the file, the directory is marked by it."""
        for content in (b"", b"\xff\x00", b"[]", b'{"what": 1}'):
            (self.directory / FILE).write_bytes(content)
            with self.assertRaisesRegex(StorageDamaged, f"is marked as damaged by a file {FILE}: restore it"):
                self.open()

    async def test_no_other_error_marks(self) -> None:
        """A read that fails for want of the database says nothing of the data."""
        storage = self.open()
        await storage.close()
        with self.assertRaises(StorageError):
            storage.get("rows", b"1")
        self.assertFalse((self.directory / FILE).exists())


class BackgroundTests(VerifiedCase):
    """The data is verified in a thread of the storage's own."""

    async def test_damage_is_found_that_nobody_reads(self) -> None:
        """It is told once, with the directory marked by then."""
        self.damage()
        storage = self.verifying()
        text = await self.told.addTimeout(PATIENCE_SECONDS, IReactorTime(reactor))
        self.assertIn("block checksum mismatch", text)
        self.assertIn("is marked as damaged", text)
        self.assertIn("block checksum mismatch", json.loads((self.directory / FILE).read_text())["what"])
        await storage.close()
        self.assert_refused()

    async def test_a_whole_database(self) -> None:
        """All entries are read once, and then there is a rest; what was read is counted, and leaves no mark."""
        storage = self.verifying()
        expected = sum(len(key) + len(value) for key, value in map(row, range(ENTRIES))) + 5 * ENTRIES
        deadline = monotonic() + PATIENCE_SECONDS
        while sum(self.verified) < expected and monotonic() < deadline:
            await self.moment()
        await self.moment()
        self.assertEqual((expected, 0), (sum(self.verified), self.verified[-1]))
        self.assertFalse((self.directory / FILE).exists())
        await storage.close()

    async def test_rate(self) -> None:
        """No more is read than the rate allows, but for a page to begin with; a storage that is closed ends it at once."""
        begun = monotonic()
        storage = self.verifying(rate=20_000)
        while len(self.verified) < 2:
            await self.moment()
        seconds, size = monotonic() - begun, sum(self.verified)
        self.assertLessEqual(size - self.verified[-1], 20_000 * seconds)
        self.assertLess(max(self.verified), 100_000)
        await storage.close()
        self.assertLess(monotonic() - begun, PATIENCE_SECONDS)

    async def test_rows_are_served_meanwhile(self) -> None:
        """Whoever reads or writes finds the database as ever."""
        storage = self.verifying()
        for number in range(0, ENTRIES, 10):
            self.assertEqual(row(number)[1], storage.get("rows", row(number)[0]))
            await storage.commit([put(b"new %d" % number, b"1")])
        await storage.close()
        self.assertEqual(ENTRIES * 11 // 10, len(await self.rows()))

    def moment(self) -> Deferred[None]:
        """Let the reactor go on for a moment."""
        done: Deferred[None] = Deferred()
        IReactorTime(reactor).callLater(0.01, done.callback, None)
        return done


class VerificationTests(RocksStorageCase):
    """A pass over pages, by whatever reads them."""

    def test_what_is_no_damage_is_told_and_not_the_end(self) -> None:
        """A read that fails for another reason is told; the pass goes on, unless all ends meanwhile."""
        failed: list[str] = []
        told = Event()

        def verify(place: bytes) -> Verified:
            raise StorageError("too many open files")

        def tell(error: StorageError) -> None:
            failed.append(str(error))
            told.set()

        verification = Verification(verify, FAST, lambda count: None, tell, lambda error: self.fail(str(error)))
        verification.start()
        self.assertTrue(told.wait(PATIENCE_SECONDS))
        verification.stop()
        verification.stop()
        self.assertEqual(["too many open files"], failed)
