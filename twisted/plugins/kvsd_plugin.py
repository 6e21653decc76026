"""Tells twistd that there is a program called kvsd, and where to find it."""

from twisted.application.service import ServiceMaker

kvsd = ServiceMaker("kvsd", "kvsd.tap", "A causally consistent key-value store.", "kvsd")
