"""Tells twistd that there is a program called kvsd and a reactor called uvloop, and where to find them."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

kvsd = ServiceMaker("kvsd", "kvsd.tap", "A causally consistent key-value store.", "kvsd")
uvloop = Reactor("uvloop", "kvsd.uvloop_reactor", "The event loop of uvloop, under Twisted's reactor for asyncio.")
