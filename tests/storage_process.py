"""A process that commits numbers to a storage until it is killed, for tests of what a sudden end leaves behind."""

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads

from kvsd.storage.datadir import read_boot_id
from kvsd.storage.rocks_storage import RocksStorage
from tests.storage_contract import put

ROOT = Path(__file__).parents[1]
WRITERS = 4
_PROGRAM = "import sys; from tests.storage_process import write_numbers; write_numbers(sys.argv[1], sys.argv[2])"


def row(number: int) -> tuple[bytes, bytes]:
    """The key and the value a number is stored as."""
    return b"%08d" % number, b"value of %d " % number * 8


def write_numbers(directory: str, fsync: str) -> None:
    """In the process: commit numbers without end, several at a time, and print each once it is committed."""
    storage = RocksStorage(
        directory, IReactorFromThreads(reactor), boot_id=read_boot_id(), fsync=fsync == "True", reserve_bytes=0
    )

    async def write(number: int) -> None:
        while True:
            await storage.commit([put(*row(number)), put(b"last of %d" % (number % WRITERS), b"%d" % number, "meta")])
            print(number, flush=True)
            number += WRITERS

    # Whoever read the numbers may end without killing this process: it must not write on for ever.
    writers = [Deferred.fromCoroutine(write(number)).addErrback(lambda _: os._exit(1)) for number in range(WRITERS)]
    assert all(writers)
    cast(IReactorCore, reactor).run()


class WritingProcess:
    """The process, running until it is killed."""

    def __init__(self, directory: Path, *, fsync: bool = True) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(directory), str(fsync)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self.printed: set[int] = set()

    def wait_for(self, count: int) -> None:
        """Return once that many numbers are committed."""
        while len(self.printed) < count and (line := self._output.readline()):
            self.printed.add(int(line))

    def kill(self) -> set[int]:
        """End the process by SIGKILL; returns all numbers it said were committed."""
        self._process.kill()
        self.printed.update(int(line) for line in self._output)
        self._output.close()
        self._process.wait()
        return self.printed
