"""Connections are bounded: accepting pauses while there are too many, and goes on when one ends."""

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kvsd.resources.admission import RESERVED_FILES, Admission
from kvsd.resources.root import RequestLimits
from tests.http_case import HttpCase


class Port:
    """A port that accepts whoever waits, as many at a time as it is told."""

    connected = True
    numberAccepts = 100  # noqa: N815 (Twisted's name)

    def __init__(self) -> None:
        self.reading = True
        self.accepts: list[int] = []

    def doRead(self) -> None:  # noqa: N802 (Twisted's name)
        self.accepts.append(self.numberAccepts)
        self.numberAccepts += 20

    def stopReading(self) -> None:  # noqa: N802 (Twisted's name)
        self.reading = False

    def startReading(self) -> None:  # noqa: N802 (Twisted's name)
        self.reading = True


class Transport:
    """A connection's end with a file."""

    def __init__(self, file: int) -> None:
        self._file = file

    def fileno(self) -> int:
        return self._file


class AdmissionTests(SynchronousTestCase):
    """A port and its connections."""

    def test_bounded_number(self) -> None:
        """With as many connections as are allowed nobody else is accepted, until one of them ends."""
        port, admission = Port(), Admission(3, 10_000, Clock())
        admission.watch(port)
        reading = []
        for file in range(3):
            admission.opened(Transport(file))
            reading.append(port.reading)
        self.assertEqual((reading, admission.open), ([True, True, False], 3))
        admission.closed()
        self.assertTrue(port.reading)

    def test_reserved_files(self) -> None:
        """A connection with a file in the reserve is the last one that is accepted, whoever has the others."""
        port, admission = Port(), Admission(10_000, 1024, Clock())
        admission.watch(port)
        admission.opened(Transport(1024 - RESERVED_FILES - 1))
        self.assertTrue(port.reading)
        admission.opened(Transport(1024 - RESERVED_FILES))
        self.assertFalse(port.reading)
        admission.closed()
        self.assertTrue(port.reading)

    def test_few_files(self) -> None:
        """A process with hardly any files keeps half of them."""
        port, admission = Port(), Admission(10_000, 100, Clock())
        admission.watch(port)
        admission.opened(Transport(49))
        self.assertTrue(port.reading)
        admission.opened(Transport(50))
        self.assertFalse(port.reading)

    def test_no_more_at_once_than_there_is_room_for(self) -> None:
        """In one turn a port accepts no more than some, and no more than there is room for."""
        port, admission = Port(), Admission(70, 10_000, Clock())
        admission.watch(port)
        for file in range(65):
            port.doRead()
            admission.opened(Transport(file))
        self.assertEqual((port.accepts[0], port.accepts[1], port.accepts[6], port.accepts[64]), (64, 64, 64, 6))

    def test_port_that_ended(self) -> None:
        """A port that was closed meanwhile is not read from again."""
        port, admission = Port(), Admission(1, 10_000, Clock())
        admission.watch(port)
        admission.opened(Transport(1))
        port.connected = False
        admission.closed()
        self.assertFalse(port.reading)


class SiteTests(HttpCase):
    """The connections of a site."""

    limits = RequestLimits(max_connections=2)

    def test_counted(self) -> None:
        """Each connection counts from its beginning to its end, and metrics show how many there are."""
        port = Port()
        self.site.admission.watch(port)
        first, _ = self.connect(), self.connect()
        self.assertEqual((self.sample("kvsd_connections"), port.reading), (2, False))
        first.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.sample("kvsd_connections"), port.reading), (1, True))
