"""A node whose settings can't be right does not start, and says in one line which one is wrong."""

import shutil
import socket
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.launch import environment, start, twistd
from tests.acceptance.clusters import free_addresses
from tests.acceptance.door import ask, until

ENOUGH = "Not enough nodes to provide fault tolerance with requested shard count"


class SettingsTests(SynchronousTestCase):
    """``twistd kvsd`` with settings from the environment and from the command line."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kvsd-acceptance-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.addresses = free_addresses(4)
        self.right = {"SOCKET_ADDRESS": self.addresses[0], "VIEW": ",".join(self.addresses), "SHARD_COUNT": "2"}

    def run_with(self, settings: dict[str, str | None], *options: str) -> tuple[int, list[str]]:
        """Start a node with right settings but for these; gives exit status and the lines on standard error."""
        chosen = {name: value for name, value in {**self.right, **settings}.items() if value is not None}
        ended = subprocess.run(
            [*twistd(), "-n", "--pidfile=", "kvsd", *options],
            cwd=self.directory, env={**environment(self.directory), **chosen}, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stderr.splitlines()

    def assert_refused(self, named: str, settings: dict[str, str | None], *options: str, status: int = 1) -> None:
        """The node ends with a status, by default that of a bad setting, and one line that names what is wrong."""
        ended, lines = self.run_with(settings, *options)
        self.assertEqual((ended, len(lines)), (status, 1), f"{settings} {options}: {lines}")
        self.assertIn(named, lines[0])

    def test_address(self) -> None:
        """The node's own address has to be there, and to be an IP address with a port."""
        for wrong in (None, "", "nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:70000", "1.2.3:80", "1.2.3.4.5:80",
                      f"http://{self.addresses[0]}", "127.0.0.1:80 90"):  # fmt: skip
            self.assert_refused("SOCKET_ADDRESS", {"SOCKET_ADDRESS": wrong})

    def test_view(self) -> None:
        """The view has to be there, to hold addresses, and among them the node's own."""
        for wrong in (None, "", "nonsense", f"{self.right['VIEW']},nonsense", f"{self.right['VIEW']},1.2.3.4:x"):
            self.assert_refused("VIEW", {"VIEW": wrong})
        self.assert_refused("VIEW", {"VIEW": ",".join(self.addresses[1:])})

    def test_shard_count(self) -> None:
        """The number of shards has to be a whole number from 1 on."""
        for wrong in ("nonsense", "0", "-1", "1.5", "2 2"):
            self.assert_refused("SHARD_COUNT", {"SHARD_COUNT": wrong})

    def test_too_many_shards(self) -> None:
        """There have to be two nodes for each shard."""
        for count in ("3", "4", "1000"):
            self.assert_refused(ENOUGH, {"SHARD_COUNT": count})
        self.assert_refused(ENOUGH, {"SHARD_COUNT": "2", "VIEW": self.addresses[0]})

    def test_options_win(self) -> None:
        """An option on the command line wins over the environment."""
        self.assert_refused(ENOUGH, {}, "--shard-count=3")
        self.assert_refused("VIEW", {}, "--socket-address=127.0.0.1:9")
        self.assert_refused("VIEW", {}, f"--view={self.addresses[1]}")

    def test_what_only_the_start_can_tell(self) -> None:
        """
        A listen endpoint, a data directory or a port that can't be used is named in one line as well.

        The exit status tells what another start may mend (75) from what it can't (78, and 1 for a setting).
        """
        self.assert_refused("KVSD_LISTEN", {}, "--listen=bogus")
        self.assert_refused("/proc/x", {}, "--data-dir=/proc/x", status=78)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"--listen=tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            self.assert_refused("can't listen", {}, listen, status=75)

    def test_exit_statuses_of_data_directories(self) -> None:
        """A directory that is in use may be free later; another node's, or one that is damaged, stays so."""
        data = self.directory / "data"
        command = [*twistd(), "-n", "--pidfile=", "kvsd", f"--socket-address={self.addresses[1]}", f"--data-dir={data}"]
        user = start([*command, f"--view={self.addresses[1]}"], self.directory, self.directory / "log")
        self.addCleanup(user.wait)
        self.addCleanup(user.kill)
        until("it uses the directory", lambda: ask(self.addresses[1], "GET", "/readyz").status == 200, 15)
        self.assert_refused("is in use by another process", {}, f"--data-dir={data}", status=75)
        user.terminate()
        user.wait(15)
        self.assert_refused(f"belongs to {self.addresses[1]}", {}, f"--data-dir={data}", status=78)
        (data / "KVSD").write_text("{")
        self.assert_refused("is corrupt", {}, f"--data-dir={data}", status=78)

    def test_daemon_that_can_not_start(self) -> None:
        """A daemon says so too, by way of the process that started it, and leaves no pid file."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            ended = subprocess.run(
                [*twistd(), "--logfile=log", "kvsd", f"--listen=tcp:{taken.getsockname()[1]}:interface=127.0.0.1"],
                cwd=self.directory, env={**environment(self.directory), **self.right}, capture_output=True, text=True, timeout=20, check=False,
            )  # fmt: skip
        self.assertEqual(ended.returncode, 1)
        self.assertIn("can't listen", ended.stderr)
        self.assertFalse((self.directory / "twistd.pid").exists())

    def test_help(self) -> None:
        """It says which options are required, with an example that names them; the version is that of kvsd."""
        status, said = self.told("--help")
        self.assertEqual(0, status, said)
        self.assertIn("kvsd --socket-address=IP:PORT --view=IP:PORT,… [options]", said)
        self.assertIn("Required are --socket-address and --view", said)
        self.assertIn("twistd --nodaemon --pidfile= kvsd --socket-address=127.0.0.1:8090 --view=", said)
        self.assertEqual((0, f"kvsd {version('kvsd')}\n"), self.told("--version"))

    def told(self, option: str) -> tuple[int, str]:
        """Exit status and output of ``twistd kvsd`` with an option, and with nothing in the environment."""
        ended = subprocess.run(
            [*twistd(), "kvsd", option],
            cwd=self.directory, env=environment(self.directory), capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout

    def test_log_format(self) -> None:
        """A form of log lines that there is not is refused, and not taken for text."""
        self.assert_refused("KVSD_LOG_FORMAT", {"KVSD_LOG_FORMAT": "yaml"})

    def test_data_that_knows_no_configuration(self) -> None:
        """A data directory that holds nothing yet does not make up for settings that can't found a cluster."""
        data = self.directory / "data"
        data.mkdir()
        self.assert_refused(ENOUGH, {"SHARD_COUNT": "3", "KVSD_DATA_DIR": str(data)})
        self.assertEqual([], list(data.iterdir()))

    def test_node_that_has_data_is_started_with_other_settings(self) -> None:
        """VIEW and SHARD_COUNT found a cluster and find one; a node that knows its cluster needs neither."""
        address = self.addresses[0]
        right = [f"--socket-address={address}", f"--data-dir={self.directory / 'data'}"]
        for others in ([f"--view={address}"], ["--view=nonsense", "--shard-count=9"], []):
            node = start(
                [*twistd(), "-n", "--pidfile=", "kvsd", *right, *others], self.directory, self.directory / "log"
            )
            self.addCleanup(node.wait)
            self.addCleanup(node.kill)
            until(f"ready with {others}", lambda: ask(address, "GET", "/readyz").status == 200, 15)
            node.terminate()
            self.assertEqual(0, node.wait(15))

    def test_nothing_left(self) -> None:
        """A start that is refused leaves no file behind."""
        before = {each.name for each in self.directory.iterdir()}
        self.assert_refused("SHARD_COUNT", {"SHARD_COUNT": "nonsense"})
        self.assertEqual({each.name for each in self.directory.iterdir()} - {"secret"}, before)
