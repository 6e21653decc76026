"""What the tests of storage in RocksDB have in common."""

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from kvsd.entries import TABLES
from kvsd.ports import StorageError
from kvsd.storage.datadir import read_boot_id
from kvsd.storage.rocks_storage import RocksStorage

THIS_BOOT = read_boot_id()


class RocksStorageCase(TestCase):
    """A directory, and storages in it that are closed at the end of the test."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()

    def open(
        self, *, fsync: bool = True, boot_id: str = THIS_BOOT, reserve_bytes: int = 0, directory: Path | None = None
    ) -> RocksStorage:
        """A storage in the directory of the test, or in another one."""
        storage = RocksStorage(
            directory or self.directory,
            IReactorFromThreads(reactor),
            boot_id=boot_id,
            fsync=fsync,
            reserve_bytes=reserve_bytes,
            observe=self.observe,
        )
        self.addCleanup(storage.close)
        return storage

    def observe(self, seconds: float, changes: int) -> None:
        """Called after each write."""

    async def refusal(self, boot_id: str = THIS_BOOT) -> str:
        """The words with which opening the storage or loading its tables is refused."""
        with self.assertRaises(StorageError) as caught:
            storage = self.open(boot_id=boot_id)
            try:
                for table in TABLES:
                    list(storage.load(table))
            finally:
                await storage.close()
        text = str(caught.exception)
        self.assertIn(str(self.directory), text)
        self.assertNotIn("\n", text)
        self.assertLess(len(text), 1000)
        return text

    async def rows(self) -> dict[bytes, bytes]:
        """The rows of the storage, opened for this and closed again."""
        storage = self.open()
        try:
            return dict(storage.load("rows"))
        finally:
            await storage.close()
