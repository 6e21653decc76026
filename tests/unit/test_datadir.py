"""The data directory: whose it is, whether it is whole, and who uses it."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvsd.ports import StorageError
from kvsd.storage.datadir import DataDirectory, read_boot_id


def create_files(database: Path, identity: str) -> None:
    """Make what looks like a database from outside."""
    database.mkdir()
    for name in ("CURRENT", "MANIFEST-000001", "000002.log"):
        (database / name).write_text(identity)


def fail_to_create(database: Path, _: str) -> None:
    """Leave half of a database behind."""
    database.mkdir()
    (database / "CURRENT").write_text("half")
    raise StorageError("interrupted")


class DataDirectoryTests(SynchronousTestCase):
    """Which directories are accepted, and what is refused with which words."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def open(self, boot_id: str = "boot-1") -> DataDirectory:
        """The directory, released at the end of the test."""
        directory = DataDirectory(self.path, boot_id)
        self.addCleanup(directory.release)
        return directory

    def create(self) -> str:
        """A complete data directory that nobody uses; returns its identity."""
        directory = self.open()
        identity = directory.prepare(create_files)
        directory.release()
        return identity

    def refusal(self, boot_id: str = "boot-1") -> str:
        """The words with which the directory is refused."""
        with self.assertRaises(StorageError) as caught:
            directory = self.open(boot_id)
            try:
                directory.prepare(create_files)
            finally:
                directory.release()
        self.assertIn(str(self.path), str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def test_a_missing_directory_is_created(self) -> None:
        """All of the path is made, readable by its owner only, and the database inside."""
        self.path = self.path / "deep" / "er"
        self.create()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)
        self.assertEqual({entry.name for entry in self.path.iterdir()}, {"KVSD", "LOCK", "db"})

    def test_an_existing_directory_is_closed_to_others(self) -> None:
        """A directory that was there already is for its owner only from now on, whether it is new to kvsd or not."""
        for mode in (0o755, 0o2770, 0o777):
            self.path.mkdir(exist_ok=True)
            self.path.chmod(mode)
            self.create()
            self.assertEqual(mode & 0o7700, self.path.stat().st_mode & 0o7777)

    def test_an_existing_directory_keeps_its_identity(self) -> None:
        """Opened again, a directory has the identity it was created with, and nothing is created."""
        identity = self.create()
        self.assertEqual(self.open().prepare(fail_to_create), identity)

    def test_an_empty_directory_is_taken(self) -> None:
        """An empty directory will do, and so will the root of a fresh file system."""
        (self.path / "lost+found").mkdir(parents=True)
        self.create()

    def test_a_strange_directory_is_refused(self) -> None:
        """A directory with files of someone else is refused, and left exactly as it was."""
        self.path.mkdir()
        self.path.chmod(0o755)
        (self.path / "thesis.tex").touch()
        self.assertIn("'thesis.tex' but no file KVSD", self.refusal())
        self.assertEqual(0o755, self.path.stat().st_mode & 0o777)
        self.assertEqual([entry.name for entry in self.path.iterdir()], ["thesis.tex"])

    def test_a_file_is_refused(self) -> None:
        """A file in the place of the directory is refused."""
        self.path.touch()
        self.assertIn("can't be created or read: File exists", self.refusal())

    def test_a_directory_below_a_file_is_refused(self) -> None:
        """A path that leads through a file is refused."""
        self.path.touch()
        self.path = self.path / "data"
        self.assertIn(f"can't be created or read: File exists ({self.path.parent})", self.refusal())

    def test_a_directory_in_use_is_refused(self) -> None:
        """Two users of one directory are refused; after the first has released it, the second may have it."""
        first = self.open()
        self.assertIn("in use by another process", self.refusal())
        first.release()
        first.release()
        self.create()

    def test_an_interrupted_creation_is_begun_again(self) -> None:
        """A directory whose creation was cut short held nothing yet: the next start creates it afresh."""
        directory = self.open()
        with self.assertRaisesRegex(StorageError, "interrupted"):
            directory.prepare(fail_to_create)
        directory.release()
        identity = self.create()
        self.assertEqual((self.path / "db" / "CURRENT").read_text(), identity)

    def test_a_creation_interrupted_at_its_very_beginning(self) -> None:
        """A crash before the marker had its name leaves nothing that would be refused."""
        self.path.mkdir()
        (self.path / "LOCK").touch()
        (self.path / "KVSD.new").write_text('{"for')
        self.create()

    def test_a_missing_database_is_refused(self) -> None:
        """Where there was a database and a part of it has gone, nothing new is created in its place."""
        self.create()
        for name in ("000002.log", "MANIFEST-000001", "CURRENT"):
            (self.path / "db" / name).unlink()
            self.assertIn("is missing though there was a database: data was lost", self.refusal())
        (self.path / "db").rmdir()
        self.assertIn("CURRENT is missing though there was a database", self.refusal())

    def test_a_missing_marker_is_refused(self) -> None:
        """A database without its marker is refused, not adopted."""
        self.create()
        (self.path / "KVSD").unlink()
        self.assertIn("holds 'db' but no file KVSD", self.refusal())

    def test_a_corrupt_marker_is_refused(self) -> None:
        """An empty, cut, foreign or overwritten marker is refused."""
        self.create()
        whole = (self.path / "KVSD").read_bytes()
        for content in (b"", whole[:-9], b"\xff\xfe", b"{}", b'{"format": 2}', whole.replace(b"true", b"1234")):
            (self.path / "KVSD").write_bytes(content)
            self.assertIn("KVSD: is corrupt", self.refusal())

    def test_a_later_format_is_refused(self) -> None:
        """Data of a later kvsd is refused with both formats named, whatever else its marker says."""
        self.create()
        (self.path / "KVSD").write_text(json.dumps({"format": 3, "something": "new"}))
        self.assertIn("the data is of format 3, and this kvsd knows 2 only", self.refusal())

    def test_an_earlier_format_is_refused(self) -> None:
        """Data of an earlier kvsd is refused, and the operator is told what to do."""
        self.create()
        (self.path / "KVSD").write_text(json.dumps({"format": 1, "identity": "1" * 32, "complete": True}))
        self.assertIn("the data is of format 1, of an earlier kvsd, and this one reads format 2 only", self.refusal())

    def test_the_last_change_is_remembered(self) -> None:
        """The number of the last change that is known to be on disk is there when the directory is opened again."""
        directory = self.open()
        directory.prepare(create_files)
        self.assertEqual(directory.last_change, 0)
        directory.mark(5, synced=True)
        directory.mark(7, synced=True)
        directory.release()
        self.assertEqual(self.open().last_change, 7)

    def test_unsynced_data_outlives_the_process_only(self) -> None:
        """What was not synced is accepted while the machine runs, and refused once it has restarted."""
        directory = self.open()
        directory.prepare(create_files)
        directory.mark(1, synced=False)
        directory.release()
        self.open().release()
        self.assertIn("last used with --no-fsync and the machine has restarted since", self.refusal("boot-2"))
        self.assertIn("last used with --no-fsync", self.refusal(""))
        directory = self.open()
        directory.prepare(create_files)
        directory.mark(1, synced=True)
        directory.release()
        self.open("boot-2")

    def test_unsynced_data_without_boot_ids(self) -> None:
        """Where the system does not tell its boots apart, data that was not synced is refused to be safe."""
        directory = self.open("")
        directory.prepare(create_files)
        directory.mark(1, synced=False)
        directory.release()
        self.assertIn("last used with --no-fsync", self.refusal(""))

    def test_the_boot_id_is_read(self) -> None:
        """The name of a boot is the one line of the system's file; a system without one has an empty name."""
        self.path.write_text("a-b-c\n")
        self.assertEqual(read_boot_id(str(self.path)), "a-b-c")
        self.assertEqual(read_boot_id(str(self.path / "missing")), "")
