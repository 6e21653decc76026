"""The settings of a node: what they amount to, and one clear line for each that is wrong."""

import math
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kvsd import secret_file
from kvsd.replication.configuration import NOT_ENOUGH_NODES, founding_configuration
from kvsd.settings import (
    BACKLOG,
    DEFAULT_MAX_BODY_BYTES,
    DEFAULT_MAX_KEY_LENGTH,
    Settings,
    SettingsError,
    read_log_format,
    read_settings,
    with_backlog,
)
from tests.builders import modest

VIEW = "10.0.0.1:8090,10.0.0.2:8091"
GIVEN = {"SOCKET_ADDRESS": "10.0.0.1:8090", "VIEW": VIEW}


def read(**environment: str) -> Settings:
    """The settings of an environment, on top of the usual one."""
    return read_settings({}, {**GIVEN, **environment})


class SettingsTests(SynchronousTestCase):
    """Settings from options and from the environment."""

    def assert_refused(self, name: str, /, **environment: str) -> None:
        """The settings are refused in one line that names the one that is wrong."""
        with self.assertRaises(SettingsError) as caught:
            read(**environment)
        self.assertIn(name, str(caught.exception))
        self.assertEqual(1, len(str(caught.exception).splitlines()))

    def test_environment(self) -> None:
        """What is needed can stand in the environment; all else has a default."""
        settings = read(SHARD_COUNT="1", KVSD_SECRET="secret")
        self.assertEqual(("10.0.0.1:8090", tuple(VIEW.split(","))), (settings.address, settings.view))
        self.assertEqual(founding_configuration(VIEW.split(","), 1), settings.founding)
        self.assertEqual((None, "tcp:8090", b"secret"), (settings.data_dir, settings.listen, settings.secret))
        self.assertEqual((True, DEFAULT_MAX_KEY_LENGTH), (settings.fsync, settings.max_key_length))
        self.assertEqual((DEFAULT_MAX_BODY_BYTES, 2**26), (settings.max_body_bytes, settings.cache_bytes))

    def test_options_win(self) -> None:
        """An option wins over the environment, an option that is not given doesn't."""
        options = {
            "socket-address": "10.0.0.2:8091",
            "listen": "tcp:1",
            "data-dir": None,
            "max-key-length": "9",
            "cache-bytes": "2",
            "force": "never",
        }
        settings = read_settings(options, {**GIVEN, "KVSD_LISTEN": "tcp:2", "KVSD_DATA_DIR": "/data"})
        self.assertEqual(("10.0.0.2:8091", "tcp:1", 9), (settings.address, settings.listen, settings.max_key_length))
        self.assertEqual(("/data", 2), (str(settings.data_dir), settings.cache_bytes))
        self.assertFalse(settings.may_force)

    def test_alone_after(self) -> None:
        """A node that is started again waits 3 s for silent ones, as long as it is told, or for ever."""
        for text, seconds in ((None, 3.0), ("1", 1.0), ("60", 60.0), ("never", math.inf)):
            self.assertEqual(seconds, read_settings({"alone-after": text}, GIVEN).alone_seconds)
        self.assertEqual(math.inf, read_settings({}, {**GIVEN, "KVSD_ALONE_AFTER": "never"}).alone_seconds)
        for wrong in ("0", "-1", "", "1.5", "Never", "inf"):
            with self.assertRaisesRegex(SettingsError, '^alone-after is malformed: .* and not "never"'):
                read_settings({"alone-after": wrong}, GIVEN)

    def test_force(self) -> None:
        """Nodes are given up by word of an operator, or not at all; never by themselves."""
        for force, may in ((None, True), ("operator", True), ("never", False)):
            self.assertEqual(may, read_settings({"force": force}, GIVEN).may_force)
        for wrong in ("auto", "", "always"):
            with self.assertRaisesRegex(SettingsError, "^force is malformed"):
                read_settings({"force": wrong}, GIVEN)

    def test_node_that_founds_nothing(self) -> None:
        """Without a number of shards a node looks for a cluster, unless it is alone."""
        self.assertIsNone(read().founding)
        self.assertIsNone(read(SHARD_COUNT="").founding)
        self.assertEqual(founding_configuration(["10.0.0.1:8090"], 1), read(VIEW="10.0.0.1:8090").founding)

    def test_what_the_data_directory_knows_is_not_judged(self) -> None:
        """On a directory with data VIEW and SHARD_COUNT may be wrong or missing: the cluster has moved on since."""
        path = Path(self.mktemp())
        path.mkdir()
        wrong = (
            {"VIEW": "10.0.0.2:8091"}, {"VIEW": "nonsense"}, {"VIEW": ""}, {"SHARD_COUNT": "9"}, {"SHARD_COUNT": "x"},
        )  # fmt: skip
        for environment in wrong:
            self.assert_refused("SHARD_COUNT" if "SHARD_COUNT" in environment else "VIEW",
                                KVSD_DATA_DIR=str(path), **environment)  # fmt: skip
        (path / "KVSD").write_text("what a data directory begins with")
        for environment in wrong:
            settings = read(KVSD_DATA_DIR=str(path), **environment)
            self.assertIn("SHARD_COUNT" if "SHARD_COUNT" in environment else "VIEW", settings.flaw)
            self.assertIsNone(settings.founding)
        self.assertEqual("", read(KVSD_DATA_DIR=str(path)).flaw)
        self.assert_refused("SOCKET_ADDRESS", KVSD_DATA_DIR=str(path), SOCKET_ADDRESS="nonsense")

    def test_log_formats(self) -> None:
        """The form of log lines may be written in any case, and no other is taken for text."""
        for text, form in (("", "text"), ("text", "text"), ("TEXT", "text"), ("Json", "json"), ("JSON", "json")):
            self.assertEqual(form, read_log_format({"KVSD_LOG_FORMAT": text}))
        self.assertEqual("text", read_log_format({}))
        for wrong in ("jsn", "xml", " ", "json "):
            self.assert_refused("KVSD_LOG_FORMAT", KVSD_LOG_FORMAT=wrong)

    def test_addresses(self) -> None:
        """An address is IP:PORT, of either version of IP."""
        self.assertEqual("[::1]:8090", read(SOCKET_ADDRESS="[::1]:8090", VIEW="[::1]:8090").address)
        for wrong in ("", "10.0.0.1", "10.0.0.1:", "host:80", "10.0.0:80", "::1:80", "10.0.0.1:0", "10.0.0.1:65536"):
            self.assert_refused("SOCKET_ADDRESS", SOCKET_ADDRESS=wrong)

    def test_one_spelling(self) -> None:
        """An address in another spelling, or that no peer could reach, ends the start with a line that says so."""
        self.assert_refused("another spelling of [::1]:80", SOCKET_ADDRESS="[0::1]:80")
        self.assert_refused("another spelling of [2001:db8::1]:80", VIEW=f"{VIEW},[2001:DB8::1]:80")
        for wrong in ("0.0.0.0:80", "[::]:80", "224.0.0.1:80", "255.255.255.255:80", "[fe80::1%eth0]:80"):
            self.assert_refused("SOCKET_ADDRESS is malformed", SOCKET_ADDRESS=wrong)

    def test_where_to_listen(self) -> None:
        """By default a node listens on all interfaces, IPv6 for an IPv6 address; on loopback only where that is its address."""
        for address, listen in (
            ("10.0.0.1:8090", "tcp:8090"),
            ("[2001:db8::1]:8090", "tcp6:8090"),
            ("127.0.0.1:8090", "tcp:8090:interface=127.0.0.1"),
            ("127.0.0.2:8090", "tcp:8090:interface=127.0.0.2"),
            ("[::1]:8090", r"tcp6:8090:interface=\:\:1"),
        ):
            self.assertEqual(listen, read(SOCKET_ADDRESS=address, VIEW=address).listen)
            serverFromString(Clock(), with_backlog(listen))
            self.assertEqual("tcp:1", read(SOCKET_ADDRESS=address, VIEW=address, KVSD_LISTEN="tcp:1").listen)

    def test_views(self) -> None:
        """A view names every node once, this one among them; spaces do no harm."""
        self.assertEqual(tuple(VIEW.split(",")), read(VIEW=VIEW.replace(",", " , ")).view)
        for wrong in ("", ",", f"{VIEW},", f"{VIEW},10.0.0.1:8090", "10.0.0.2:8091", f"{VIEW},x"):
            self.assert_refused("VIEW", VIEW=wrong)

    def test_shard_counts(self) -> None:
        """A number of shards is whole, from 1, and leaves two nodes a shard."""
        for wrong in ("0", "-1", "1.5", "two", " ", "²", "٣"):
            self.assert_refused("SHARD_COUNT", SHARD_COUNT=wrong)
        self.assert_refused(NOT_ENOUGH_NODES, SHARD_COUNT="2")

    def test_numbers(self) -> None:
        """Limits are whole numbers from 1."""
        for wrong in ("0", "-1", "", "many"):
            with self.assertRaises(SettingsError) as caught:
                read_settings({"max-body-bytes": wrong}, GIVEN)
            self.assertIn("max-body-bytes", str(caught.exception))

    def test_bounds_of_memory_and_connections(self) -> None:
        """Bounds of connections and of bodies under way come from options or the environment, and can't be too small."""
        settings = read()
        self.assertEqual((10_000, 256 << 20), (settings.max_connections, settings.body_budget_bytes))
        settings = read(KVSD_MAX_CONNECTIONS="7", KVSD_BODY_BUDGET_BYTES="16777216")
        self.assertEqual((7, 16 << 20), (settings.max_connections, settings.body_budget_bytes))
        settings = read_settings({"max-connections": "8", "body-budget-bytes": "20000000"}, GIVEN)
        self.assertEqual((8, 20_000_000), (settings.max_connections, settings.body_budget_bytes))
        self.assert_refused("body-budget-bytes", KVSD_BODY_BUDGET_BYTES="16777215")
        self.assert_refused("max-connections", KVSD_MAX_CONNECTIONS="0")

    def test_rate_of_verification(self) -> None:
        """So many bytes of the data are verified each second, 0 for none."""
        self.assertEqual(1 << 19, read().verify_rate)
        self.assertEqual(0, read(KVSD_VERIFY_RATE="0").verify_rate)
        self.assertEqual(5, read_settings({"verify-rate": "5"}, {**GIVEN, "KVSD_VERIFY_RATE": "6"}).verify_rate)
        for wrong in ("-1", "fast", "1.5"):
            self.assert_refused("verify-rate is malformed", KVSD_VERIFY_RATE=wrong)

    def test_write_concern(self) -> None:
        """How many replicas are to have a write: 1 unless something else is said, which is a number or a word."""
        self.assertEqual(1, read().write_concern)
        for text, concern in (("1", 1), ("2", 2), ("majority", "majority"), ("all", "all")):
            self.assertEqual(concern, read_settings({"write-concern": text}, GIVEN).write_concern)
        for wrong in ("0", "-1", "", "most"):
            with self.assertRaises(SettingsError) as caught:
                read_settings({"write-concern": wrong}, GIVEN)
            self.assertIn("write-concern is malformed", str(caught.exception))

    def test_secrets(self) -> None:
        """A secret in a file is read without its last newline; a file that is not there is named."""
        path = self.mktemp()
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"from a file\n")
        os.chmod(path, 0o600)  # noqa: PTH101
        self.assertEqual(b"from a file", read(KVSD_SECRET_FILE=path, KVSD_SECRET="other").secret)
        self.assert_refused("secret-file", KVSD_SECRET_FILE=path + ".missing")

    def secret_file(self, mode: int) -> Path:
        """A file with a secret and that mode."""
        path = Path(self.mktemp())
        path.write_bytes(b"from a file\n")
        path.chmod(mode)
        return path

    def test_secret_that_others_can_read(self) -> None:
        """A secret file that other users can read or write is refused; its group may read it."""
        for mode in (0o400, 0o600, 0o440, 0o640):
            self.assertEqual(b"from a file", read(KVSD_SECRET_FILE=str(self.secret_file(mode))).secret)
        for mode in (0o604, 0o644, 0o444, 0o602):
            self.assert_refused(f"secret-file is open to all users of this machine (mode {mode:04o})",
                                KVSD_SECRET_FILE=str(self.secret_file(mode)))  # fmt: skip

    def test_secret_file_without_end(self) -> None:
        """A secret file is read to a bound, not to an end that may never come."""
        path = self.secret_file(0o600)
        os.truncate(path, 1 << 40)
        self.assert_refused("secret-file is no secret: it holds more than 4,096 bytes", KVSD_SECRET_FILE=str(path))
        self.assert_refused("secret-file", KVSD_SECRET_FILE="/dev/zero")
        os.truncate(path, 0)
        self.assert_refused("secret-file is empty", KVSD_SECRET_FILE=str(path))
        self.assert_refused("secret-file can't be read", KVSD_SECRET_FILE=str(path.parent))

    def test_secret_from_a_pipe(self) -> None:
        """A pipe gives a secret as well; one that nobody writes to is refused after a while."""
        path = Path(self.mktemp())
        os.mkfifo(path, 0o600)
        writer = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, writer)
        self.patch(secret_file, "PATIENCE_SECONDS", 0.01)
        self.assert_refused("secret-file has given nothing for", KVSD_SECRET_FILE=str(path))
        os.write(writer, b"x" * 5000)
        self.assert_refused("secret-file is no secret", KVSD_SECRET_FILE=str(path))
        reader, other = os.pipe()
        self.addCleanup(os.close, reader)
        os.write(other, b"piped\n")
        os.close(other)
        self.assertEqual(b"piped", read(KVSD_SECRET_FILE=f"/dev/fd/{reader}").secret)

    def test_secret_that_is_not_utf8(self) -> None:
        """A secret in the environment that is not UTF-8 is refused by name, and not shown."""
        self.assert_refused("KVSD_SECRET is malformed: it is not UTF-8", KVSD_SECRET=os.fsdecode(b"caf\xe9"))

    @modest
    @given(st.sampled_from(("SOCKET_ADDRESS", "VIEW", "SHARD_COUNT")), st.text("0123456789.:,[] -x", max_size=20))
    def test_any_text(self, name: str, text: str) -> None:
        """Whatever a setting says, it is understood or refused."""
        try:
            read(**{name: text})
        except SettingsError as error:
            self.assertEqual(1, len(str(error).splitlines()))

    def test_backlog(self) -> None:
        """Many connections may wait at a TCP port, unless the operator says how many; of others nothing is known."""
        for listen in ("tcp:8090", "tcp:8090:interface=127.0.0.1", "tcp6:8090"):
            self.assertEqual(f"{listen}:backlog={BACKLOG}", with_backlog(listen))
        for listen in ("tcp:8090:backlog=5", "unix:/run/kvsd", "tls:8090"):
            self.assertEqual(listen, with_backlog(listen))
