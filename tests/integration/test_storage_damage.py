"""Storage in RocksDB after damage: it starts with all it had, or it refuses to start; never with less."""

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rocksdict import Options, Rdict

from kvsd.ports import StorageError
from tests.rocks_case import RocksStorageCase
from tests.storage_contract import put
from tests.storage_process import WritingProcess, row

SECRET = b"a secret of a user"
ENTRIES = 3000
COPIES = 12


def flip(file: Path, offset: int) -> None:
    """Change one byte of a file."""
    content = bytearray(file.read_bytes())
    content[offset] ^= 0xFF
    file.write_bytes(content)


def cut(file: Path, size: int) -> None:
    """Remove the last bytes of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - size])


def copy_value(source: bytes, target: bytes, database: Rdict) -> None:
    """Make a second entry of one entry."""
    database.put(target, database[source])


class ClosedDatabaseTests(RocksStorageCase):
    """Damage to a database that was closed in order, so that all of its entries are in a table file (``*.sst``)."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        """Fill a database and close it."""
        super().setUp()
        storage = self.open()
        await storage.commit([put(*row(number)) for number in range(ENTRIES)])
        await storage.commit([put(b"secret", SECRET, "meta")])
        await storage.close()
        self.database = self.directory / "db"

    def largest(self, pattern: str) -> Path:
        """Of the database's files whose names match, the largest."""
        return max(self.database.glob(pattern), key=lambda file: file.stat().st_size)

    async def test_a_lost_file(self) -> None:
        """A missing file of the database refuses the start, twice in a row; put back, all is there again."""
        for pattern, words in {
            "CURRENT": "CURRENT is missing though there was a database",
            "MANIFEST-*": "is missing though there was a database",
            "*.log": "*.log is missing though there was a database",
            "*.sst": "can't be opened: Corruption",
        }.items():
            file = self.largest(pattern)
            away = file.rename(self.directory / "away")
            self.assertIn(words, await self.refusal())
            self.assertIn(words, await self.refusal())
            away.rename(file)
            self.assertEqual(len(await self.rows()), ENTRIES)

    async def test_a_lost_database(self) -> None:
        """If the whole database has gone, an empty one never takes its place."""
        shutil.rmtree(self.database)
        self.assertIn("CURRENT is missing though there was a database", await self.refusal())
        self.assertFalse(self.database.exists())

    async def test_a_lost_marker(self) -> None:
        """A database without the file KVSD is refused."""
        (self.directory / "KVSD").unlink()
        self.assertIn("holds 'db' but no file KVSD", await self.refusal())

    async def test_a_cut_file(self) -> None:
        """A table file, or the list of the files, that is shorter than it was refuses the start."""
        for pattern in ("*.sst", "CURRENT"):
            before = self.largest(pattern).read_bytes()
            cut(self.largest(pattern), 1)
            self.assertIn("can't be opened: Corruption", await self.refusal())
            self.largest(pattern).write_bytes(before)

    async def test_a_corrupt_block(self) -> None:
        """A damaged block in the middle of a table refuses the start: the entries before it do not pass for all."""
        file = self.largest("*.sst")
        flip(file, file.stat().st_size // 2)
        self.assertIn("the database can't be read: Corruption: block checksum mismatch", await self.refusal())

    async def test_a_cut_list_of_files(self) -> None:
        """Where the list of files ends early, the database would seem to be whole, but older: it is refused, untouched."""
        words: list[str] = []
        for damaged in self.copies("MANIFEST-*"):
            cut(damaged, len(words) * 15 + 1)
            files = {file.name for file in self.database.glob("*.sst")}
            words.append(await self.whole_or_refused())
            if words[-1]:
                self.assertLessEqual(files, {file.name for file in self.database.glob("*.sst")})
        self.assertRegex(" ".join(words), "ends at change [0-9]+ of 3002 at least: data was lost")

    async def test_one_flipped_byte_anywhere(self) -> None:
        """Wherever a byte is changed: all entries are found unchanged, or the start is refused."""
        for pattern in ("*.sst", "MANIFEST-*", "CURRENT", "IDENTITY", "OPTIONS-*", "rocksdict-config.json"):
            for number, damaged in enumerate(self.copies(pattern)):
                flip(damaged, damaged.stat().st_size * number // COPIES)
                await self.whole_or_refused()

    def copies(self, pattern: str) -> Iterator[Path]:
        """Some times in a row, put an undamaged copy in the place of the directory; gives one of its files each time."""
        whole = self.directory.rename(self.mktemp())
        for _ in range(COPIES):
            shutil.copytree(whole, self.directory)
            yield self.largest(pattern)
            shutil.rmtree(self.directory)
        whole.rename(self.directory)

    async def whole_or_refused(self) -> str:
        """The words with which the start is refused; none if all entries are there."""
        try:
            self.assertEqual(await self.rows(), dict(row(number) for number in range(ENTRIES)))
        except StorageError as error:
            self.assertEqual(await self.refusal(), str(error))
            return str(error)
        return ""

    async def test_a_value_changed_beneath_the_files_checksums(self) -> None:
        """A value that was wrong before it came to RocksDB is found, with its table and key but not the value."""
        self.meddle(lambda database: database.put(b"mcorrupt key", SECRET + b"\x00\x00\x00\x00"))
        text = await self.refusal()
        self.assertIn("an entry of table meta does not match its checksum", text)
        self.assertIn(f"(its key begins with {b'corrupt '.hex()})", text)
        self.assertNotIn(SECRET.decode(), text)
        self.assertNotIn(SECRET.hex(), text)

    async def test_a_value_under_another_key(self) -> None:
        """A value that stands under the key, or in the table, of another one is found."""
        key, _ = row(1)
        for wrong in (b"m" + key, b"r", b"r" + key[:-1]):
            self.meddle(partial(copy_value, b"r" + key, wrong))
            self.assertIn("does not match its checksum", await self.refusal())
            self.meddle(lambda database: database.delete(wrong))  # noqa: B023  # called at once
        self.assertEqual(len(await self.rows()), ENTRIES)

    async def test_a_value_too_short_for_a_checksum(self) -> None:
        """An entry that is shorter than a checksum is found."""
        self.meddle(lambda database: database.put(b"rx", b""))
        self.assertIn("does not match its checksum (its key begins with 78)", await self.refusal())

    async def test_the_database_of_another_directory(self) -> None:
        """A database that was moved in from elsewhere, or made by hand, is refused."""
        storage = self.open(directory=self.directory / "other")
        await storage.close()
        shutil.rmtree(self.database)
        (self.directory / "other" / "db").rename(self.database)
        self.assertIn("is not the database that was created here", await self.refusal())
        shutil.rmtree(self.database)
        Rdict(str(self.database), Options(raw_mode=True)).close()
        self.assertIn("is not the database that was created here", await self.refusal())

    def meddle(self, change: Callable[[Rdict], object]) -> None:
        """Change the database behind the storage's back."""
        database = Rdict(str(self.database), Options(raw_mode=True))
        change(database)
        database.close()


class KilledDatabaseTests(RocksStorageCase):
    """Damage to a database whose process was killed, so that its entries are in the log (``*.log``)."""

    def setUp(self) -> None:
        super().setUp()
        process = WritingProcess(self.directory)
        process.wait_for(300)
        self.acknowledged = process.kill()
        (self.log,) = (self.directory / "db").glob("*.log")

    async def test_a_torn_record(self) -> None:
        """A record that was being written at a power cut is dropped; all before it is there."""
        with self.log.open("ab") as log:
            log.write(b"\x00\x01\x02\x03\xff\x01\x01cut off here")
        found = await self.rows()
        self.assertLessEqual({row(number) for number in self.acknowledged}, set(found.items()))

    async def test_a_cut_log(self) -> None:
        """A log cut in the middle of a record keeps all whole records, each commit with all of its changes."""
        cut(self.log, 5)
        storage = self.open()
        rows = dict(storage.load("rows"))
        self.assertEqual(rows, dict(row(int(key)) for key in rows))
        self.assertGreater(len(rows), len(self.acknowledged) // 2)
        for key, value in storage.load("meta"):
            numbers = [int(number) for number in rows if int(number) % 4 == int(key[-1:])]
            self.assertEqual(int(value), max(numbers))

    async def test_a_corrupt_record(self) -> None:
        """A damaged record with others behind it refuses the start, twice in a row: what follows is not dropped."""
        flip(self.log, self.log.stat().st_size // 2)
        self.assertIn("can't be opened: Corruption", await self.refusal())
        self.assertIn("can't be opened: Corruption", await self.refusal())

    async def test_a_lost_log(self) -> None:
        """Without its log the database would seem to be whole, but older: it is refused."""
        self.log.unlink()
        self.assertIn("*.log is missing though there was a database", await self.refusal())


class WritingTests(RocksStorageCase):
    """What is noted while writing, and a write that fails for another reason than want of space."""

    async def test_the_marker_follows(self) -> None:
        """After some megabytes, the marker asks for more than the database had when it was opened."""
        storage = self.open()
        for number in range(18):
            await storage.commit([put(b"%d" % number, bytes(1 << 20))])
        marker = json.loads((self.directory / "KVSD").read_text())
        self.assertGreater(marker["last_change"], 10)
        await storage.close()
        self.assertEqual(len(await self.rows()), 18)

    async def test_a_failed_write_is_final(self) -> None:
        """After a write the system refused, nothing more is written, even if it would work again."""
        storage = self.open()
        await storage.commit([put(b"a", b"1")])
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, limits[1]))
        try:
            with self.assertRaisesRegex(Exception, "a write failed: IO error: .*File too large"):
                await storage.commit([put(b"b", bytes(9 << 20))])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        with self.assertRaisesRegex(Exception, "nothing more will be written"):
            await storage.commit([("rows", b"c", b"3")])
        await storage.close()
        self.assertEqual(list(self.open().load("rows")), [(b"a", b"1")])
