"""Seals are HMACs, as others make them."""

import hmac

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.seal import Seal
from tests.examples import examples


class SealTests(SynchronousTestCase):
    """A seal is compared with the HMAC of Python."""

    @examples(60)
    @given(st.binary(max_size=64), st.lists(st.binary(max_size=200), min_size=1, max_size=3), st.integers(1, 32))
    def test_tags(self, key: bytes, bodies: list[bytes], size: int) -> None:
        """One seal makes the tag of any number of texts, as RFC 2104 says."""
        seal = Seal(key, size)
        for body in bodies:
            self.assertEqual(hmac.digest(key, body, "sha256")[:size], seal.tag(body))

    def test_test_case_of_rfc_4231(self) -> None:
        """The second test case of RFC 4231."""
        tag = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        self.assertEqual(tag, Seal(b"Jefe", 32).tag(b"what do ya want for nothing?").hex())
