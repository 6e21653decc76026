"""Storage in RocksDB on a disk that is really full: a small file system in memory, mounted for each test."""

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest

from kvsd.ports import DiskFull, StorageError
from kvsd.storage.rocks_storage import RocksStorage
from tests.rocks_case import RocksStorageCase
from tests.storage_contract import put, remove

SIZE_MEBIBYTES = 22
VALUE_BYTES = 100_000


class FullDiskTests(RocksStorageCase):
    """What is refused leaves nothing behind, and what was accepted before stays."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = self.directory
        self.disk.mkdir(parents=True)
        self.mount(f"size={SIZE_MEBIBYTES}m")
        self.addCleanup(subprocess.run, ["umount", str(self.disk)], check=True)
        self.directory = self.disk / "data"

    def mount(self, options: str) -> None:
        """Mount the disk, or change how it is mounted; skips the test where this isn't allowed."""
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.disk)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SkipTest(f"needs the right to mount a file system: {error}") from error

    def fill_disk(self, free_bytes: int) -> Path:
        """Have another program take all of the disk but some bytes; returns the file it takes them with."""
        ballast = self.disk / "of another program"
        status = os.statvfs(self.disk)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - free_bytes)
        return ballast

    async def write_until_full(self, storage: RocksStorage) -> dict[bytes, bytes]:
        """Commit large values until one is refused for want of space; returns those that were accepted."""
        accepted: dict[bytes, bytes] = {}
        for number in range(SIZE_MEBIBYTES * 20):
            key, value = b"%06d" % number, os.urandom(VALUE_BYTES)
            try:
                await storage.commit([put(key, value), put(b"again " + key, key)])
            except DiskFull as error:
                self.assertIn(str(self.directory), str(error))
                return accepted
            accepted |= {key: value, b"again " + key: key}
        raise self.failureException("the disk was never full")

    async def test_the_reserve_is_left_free(self) -> None:
        """Writes end before the disk is full; they go on, in the same process, once there is space."""
        self.mount("remount,size=60m")
        storage = self.open(reserve_bytes=40 << 20)
        accepted = await self.write_until_full(storage)
        status = os.statvfs(self.disk)
        self.assertGreater(status.f_bavail * status.f_frsize, 10 << 20)
        await storage.commit([remove(b"000000")])
        del accepted[b"000000"]
        self.mount("remount,size=200m")
        await storage.commit([put(b"more", b"v")])
        await storage.close()
        self.assertEqual(await self.rows(), accepted | {b"more": b"v"})

    async def test_a_full_disk_clears(self) -> None:
        """If the disk is full to the last byte, commits are refused until there is space, and then succeed."""
        storage = self.open()
        accepted = await self.write_until_full(storage)
        for _ in range(3):
            with self.assertRaises(DiskFull):
                await storage.commit([put(b"refused", os.urandom(VALUE_BYTES))])
            read = dict(storage.scan("rows", b"", b"\xff", len(accepted) + 1))
            self.assertEqual(accepted, read, "what was accepted can be read all the time")
            self.assertEqual(accepted[b"000000"], storage.get("rows", b"000000"))
        self.mount("remount,size=200m")
        await storage.commit([put(b"more", b"v")])
        self.assertEqual(b"v", storage.get("rows", b"more"))
        await storage.commit([remove(b"000000")])
        self.assertIsNone(storage.get("rows", b"000000"))
        del accepted[b"000000"]
        await storage.close()
        self.assertEqual(await self.rows(), accepted | {b"more": b"v"})

    async def test_another_program_fills_the_disk(self) -> None:
        """The same when the space goes to someone else, whatever is left: some pages, or none."""
        storage = self.open()
        accepted: dict[bytes, bytes] = {}
        for number, free_bytes in enumerate((0, 8192, 150_000)):
            ballast = self.fill_disk(free_bytes)
            accepted |= {b"%d" % number + key: value for key, value in (await self.fill(storage, number)).items()}
            ballast.unlink()
        await storage.commit([put(b"more", b"v")])
        await storage.close()
        self.assertEqual(await self.rows(), accepted | {b"more": b"v"})

    async def fill(self, storage: RocksStorage, round_number: int) -> dict[bytes, bytes]:
        """Commit small values, two by two, until one pair is refused; returns those accepted."""
        accepted: dict[bytes, bytes] = {}
        for number in range(1000):
            pair = {b"%04d" % number: os.urandom(700), b"%04d again" % number: os.urandom(1300)}
            changes = [put(b"%d" % round_number + key, value) for key, value in pair.items()]
            try:
                await storage.commit(changes)
            except DiskFull:
                return accepted
            accepted |= pair
        raise self.failureException("the disk was never full")

    async def test_removing_when_the_disk_is_full(self) -> None:
        """While a full disk keeps the database from opening again, commits that only remove things are refused too."""
        storage = self.open()
        accepted = await self.write_until_full(storage)
        self.fill_disk(0)
        with self.assertRaises(DiskFull):
            await storage.commit([remove(b"000000")])
        await storage.close()
        self.mount("remount,size=200m")
        self.assertEqual(await self.rows(), accepted)

    async def test_a_start_on_a_full_disk(self) -> None:
        """A start that finds no space is refused with the reason; with space, all is there."""
        storage = self.open()
        accepted = await self.write_until_full(storage)
        await storage.close()
        ballast = self.fill_disk(0)
        self.assertIn("No space left on device", await self.refusal())
        ballast.unlink()
        self.mount("remount,size=200m")
        self.assertEqual(await self.rows(), accepted)

    async def test_a_first_start_on_a_full_disk(self) -> None:
        """A data directory that could not be finished is no obstacle to the next start."""
        for free_bytes in (0, 4096, 30_000):
            ballast = self.fill_disk(free_bytes)
            with self.assertRaisesRegex(StorageError, "No space left on device"):
                self.open()
            ballast.unlink()
        self.assertEqual(await self.rows(), {})

    async def test_closing_a_full_disk_without_fsync(self) -> None:
        """Without fsync, a storage that ends on a full disk does not claim that all was synced."""
        storage = self.open(fsync=False)
        accepted = await self.write_until_full(storage)
        await storage.close()
        self.mount("remount,size=200m")
        self.assertIn("last used with --no-fsync", await self.refusal("boot-of-another-day"))
        self.assertEqual(await self.rows(), accepted)

    async def test_a_read_only_disk(self) -> None:
        """A directory that can't be written is refused."""
        await self.open().close()
        self.mount("remount,ro")
        self.assertIn("can't be written: Read-only file system", await self.refusal())
