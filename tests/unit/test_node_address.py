"""Addresses: which texts are names of nodes, and what is said of the others."""

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.node_address import MAX_ADDRESS_LENGTH, NOT_AN_ADDRESS, address_fault, is_loopback
from kvsd.replication.placement import address_order
from tests.builders import modest

SPELLINGS = {
    "[0::1]:80": "[::1]:80",
    "[::0001]:80": "[::1]:80",
    "[0:0:0:0:0:0:0:1]:80": "[::1]:80",
    "[2001:DB8::1]:80": "[2001:db8::1]:80",
    "[2001:db8:0:0:1::1]:80": "[2001:db8::1:0:0:1]:80",
    "[::ffff:10.0.0.1]:80": "10.0.0.1:80",
    "[::ffff:a00:1]:80": "10.0.0.1:80",
    "[::1]:080": "[::1]:80",
    "10.0.0.1:08090": "10.0.0.1:8090",
    "10.0.0.01:8090": "10.0.0.1:8090",
    "010.000.000.001:8090": "10.0.0.1:8090",
}
NO_NAMES = {
    "0.0.0.0:80": "unspecified",
    "0.1.2.3:80": "unspecified",
    "[::]:80": "unspecified",
    "[::ffff:0.0.0.0]:80": "unspecified",
    "169.254.169.254:80": "link-local",
    "[fe80::1]:80": "link-local",
    "[::ffff:169.254.169.254]:80": "link-local",
    "224.0.0.1:80": "multicast",
    "239.255.255.250:1900": "multicast",
    "[ff02::1]:80": "multicast",
    "255.255.255.255:80": "broadcast",
    "[fe80::1%eth0]:80": "scope id",
    "[::1%1]:80": "scope id",
    "[2001:db8::1%é]:80": "scope id",
}
TEXTS = st.one_of(
    st.text("0123456789.:[]abcdefABCDEF%x ", max_size=40),
    st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(-1, 70_000)),
    st.builds("[{}]:{}".format, st.ip_addresses(v=6), st.integers(-1, 70_000)),
)


class AddressTests(SynchronousTestCase):
    """Texts, and whether they are addresses."""

    def test_addresses(self) -> None:
        """The canonical text of an IP and a port is an address."""
        for text in (
            "10.0.0.1:8090",
            "127.0.0.1:1",
            "192.168.1.255:65535",
            "[::1]:80",
            "[2001:db8::1]:8090",
            "[fd00::1:2]:80",
        ):
            self.assertEqual("", address_fault(text), text)

    def test_one_spelling(self) -> None:
        """Another spelling of an address is none, and the one that is right is named."""
        for text, canonical in SPELLINGS.items():
            self.assertEqual(f"is another spelling of {canonical}: write that", address_fault(text))
            self.assertEqual("", address_fault(canonical))

    def test_no_names(self) -> None:
        """Where no peer can be reached, or another one from each machine, there is no node; the reason is named."""
        for text, reason in NO_NAMES.items():
            self.assertIn(reason, address_fault(text), text)

    def test_nonsense(self) -> None:
        """What is no IP and port is said to be none."""
        for text in ("", ":", "x", "10.0.0.1", "10.0.0.1:", ":80", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.256:80", "host:80",
                     "10.0.0:80", "10.0.0.0.1:80", "::1:80", "[::1]", "[::1]80", "[::g]:80", "[::1%]:80", "10.0.0.1:+80", "10.0.0.1:8٣",
                     "10.0.0.1:80\n", " 10.0.0.1:80", "10..0.1:80", "1.2.3.٤:80", "[10.0.0.1]:80",
                     "10.0.0.1:" + "9" * 10_000, "9" * 10_000 + ".0.0.1:80", "[::1%" + "x" * 10_000 + "]:80"):  # fmt: skip
            self.assertEqual(NOT_AN_ADDRESS, address_fault(text), text[:50])

    def test_loopback(self) -> None:
        """Loopback addresses are told from others."""
        for text, loopback in (("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True), ("10.0.0.1:1", False), ("[fd00::1]:1", False)):  # fmt: skip
            self.assertEqual(loopback, is_loopback(text), text)

    @modest
    @given(TEXTS)
    @example("[::ffff:1.2.3.4]:80")
    def test_any_text(self, text: str) -> None:
        """Any text is an address, or leads to the one that is meant, or to a sentence; and can be sorted."""
        fault = address_fault(text)
        self.assertLess(len(fault), 100)
        if fault.startswith("is another"):
            self.assertEqual("", address_fault(fault.split()[4].rstrip(":")))
        address_order(text)

    def test_names_of_any_length_are_sorted(self) -> None:
        """A name with a number that Python refuses to read has a place in the order, as any has."""
        names = ["10.0.0.2:80", "10.0.0.1:80", "1.2.3.4:" + "9" * 5_000, "9" * 5_000 + ".1.1.1:80"]
        self.assertEqual(
            ["10.0.0.1:80", "10.0.0.2:80"], [name for name in sorted(names, key=address_order) if len(name) < 99]
        )
        self.assertLess(MAX_ADDRESS_LENGTH, 5_000)
