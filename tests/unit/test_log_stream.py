"""Standard output that nobody reads: writers never wait, and what is dropped is counted and told."""

import os
import threading

from twisted.trial.unittest import SynchronousTestCase

from kvsd.log_stream import QUEUE_BYTES, LossyStream

LINE = "x" * 999 + "\n"
PATIENCE_SECONDS = 10.0


class LossyStreamTests(SynchronousTestCase):
    """A stream into a pipe."""

    def setUp(self) -> None:
        self.reader, writer = os.pipe()
        self.addCleanup(os.close, self.reader)
        self.stream = LossyStream(writer)
        self.stream.notice = lambda count: f"{count} missing\n"

    def read_until(self, end: bytes) -> bytes:
        """What comes out of the pipe up to a text, which has to come."""
        read = b""
        while not read.endswith(end):
            part = os.read(self.reader, 65536)
            self.assertTrue(part)
            read += part
        return read

    def fill(self, count: int) -> None:
        """Write so many lines from another thread, which has to get through."""
        writing = threading.Thread(target=lambda: [self.stream.write(LINE) for _ in range(count)], daemon=True)
        writing.start()
        writing.join(PATIENCE_SECONDS)
        self.assertFalse(writing.is_alive(), "a write waits for a reader")

    def test_lines_in_order(self) -> None:
        """What is read is what was written."""
        for number in range(1000):
            self.stream.write(f"{number}\n")
        self.assertEqual([b"%d" % number for number in range(1000)], self.read_until(b"\n999\n").split())
        self.assertEqual(0, self.stream.dropped_lines)

    def test_nobody_reads(self) -> None:
        """Lines beyond the bound are dropped, and where they are missing a line says how many, before any later one."""
        self.fill(3000)
        dropped = self.stream.dropped_lines
        self.assertGreater(dropped, 3000 - (QUEUE_BYTES + 2 * 65536) // len(LINE) - 1)
        self.assertLess(dropped, 3000)
        kept = self.read_until((LINE * 10).encode())
        while kept.count(b"\n") < 3000 - dropped:
            kept += os.read(self.reader, 65536)
        self.assertEqual((LINE * (3000 - dropped)).encode(), kept)
        self.assertTrue(self.stream.wait_until_written(PATIENCE_SECONDS))
        self.stream.write("next\n")
        self.assertEqual(f"{dropped} missing\nnext\n".encode(), self.read_until(b"next\n"))
        self.stream.write("last\n")
        self.assertEqual(b"last\n", self.read_until(b"last\n"))

    def test_many_short_lines(self) -> None:
        """The bound holds for many lines of nothing, too."""
        self.fill(1)
        for _ in range(200_000):
            self.stream.write("\n")
        self.assertGreater(self.stream.dropped_lines, 200_000 - QUEUE_BYTES // 100 - 65536)

    def test_reader_that_is_gone(self) -> None:
        """Where the pipe has no reader any more, lines are counted as dropped and nothing is raised."""
        reader, writer = os.pipe()
        os.close(reader)
        stream = LossyStream(writer)
        for _ in range(5):
            stream.write("a\n")
        self.assertTrue(stream.wait_until_written(PATIENCE_SECONDS))
        self.assertGreaterEqual(stream.dropped_lines, 5)

    def test_end(self) -> None:
        """The end waits for the last lines, and for those after it; where nobody reads, not for long and only once."""
        self.stream.end()
        self.stream.write("last\n")
        self.assertEqual(b"last\n", os.read(self.reader, 100))
        self.fill(200)
        self.fill(200)

    def test_file_that_others_made_non_blocking(self) -> None:
        """Nothing is lost where another process has made the pipe non-blocking."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.set_blocking(writer, False)
        stream = LossyStream(writer)
        for _ in range(500):
            stream.write(LINE)
        read = 0
        while read < 500 * len(LINE):
            read += len(os.read(reader, 65536))
        self.assertEqual(0, stream.dropped_lines)
