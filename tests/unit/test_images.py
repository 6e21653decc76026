"""What is installed and what runs in containers: locked to the byte, and with no more rights than a node needs."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]


def text_of(name: str) -> str:
    """The text of a file of the project."""
    return (ROOT / name).read_text("utf-8")


class LockTests(SynchronousTestCase):
    """``requirements.lock`` and those who install from it."""

    def test_every_package_has_one_version_and_hashes(self) -> None:
        """Whoever holds an index can't slip another file in."""
        entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^ *#.*\n", "", text_of("requirements.lock")).strip())
        self.assertGreater(len(entries), 40)
        for entry in entries:
            self.assertRegex(entry, r"^[a-z0-9-]+==[^ ]+ ")
            self.assertRegex(entry, r"--hash=sha256:[0-9a-f]{64}")

    def test_the_lock_names_no_index(self) -> None:
        """Where packages come from is for each machine to say."""
        self.assertNotRegex(text_of("requirements.lock"), r"://|--index|--find-links")

    def test_all_install_by_hash(self) -> None:
        """The environment for development, the image, and the check of the packages."""
        for name in ("Makefile", "Dockerfile", ".ci/packaging"):
            self.assertRegex(text_of(name), r"--require-hashes (\\\n *)?--requirement requirements\.lock", name)
            self.assertNotIn("--constraint", text_of(name))

    def test_base_image_is_named_by_its_digest(self) -> None:
        """A tag is moved; what a digest names stays."""
        dockerfile = text_of("Dockerfile")
        self.assertRegex(dockerfile, r"(?m)^ARG BASE=python:[\w.-]+@sha256:[0-9a-f]{64}$")
        self.assertEqual(["${BASE}", "${BASE}"], re.findall(r"(?m)^FROM (\S+)", dockerfile))


class ComposeTests(SynchronousTestCase):
    """``compose.yaml``."""

    def setUp(self) -> None:
        self.compose = text_of("compose.yaml")

    def test_nodes_have_no_more_rights_than_they_need(self) -> None:
        """A node that is taken over can write to its data only, and gains nothing."""
        for line in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]'):
            self.assertIn(f"\n  {line}\n", self.compose)

    def test_signals_reach_nodes_from_the_start(self) -> None:
        """Process 1, for which the kernel ignores signals that have no handler yet, is Docker's own."""
        self.assertIn("\n  init: true\n", self.compose)

    def test_ports_are_published_on_loopback(self) -> None:
        """The network of the machine does not reach the nodes, which ask no one for a password."""
        ports = re.findall(r"ports: \[(.*)\]", self.compose)
        self.assertEqual([f'"127.0.0.1:{8082 + number}:8090"' for number in range(6)], ports)

    def test_secret_must_be_set(self) -> None:
        """Without a secret nothing is started, and what is missing is named."""
        self.assertIn('KVSD_SECRET: "${KVSD_SECRET:?set KVSD_SECRET', self.compose)
