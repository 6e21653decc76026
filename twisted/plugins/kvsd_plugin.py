"""Tells twistd that there is a program called kvsd and a reactor called uvloop, and where to find them."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

from kvsd.early_exit import end_at_once_on_sigterm

end_at_once_on_sigterm()  # twistd loads this file before anything else of kvsd's; it does nothing but in process 1

kvsd = ServiceMaker("kvsd", "kvsd.tap", "A causally consistent key-value store.", "kvsd")
uvloop = Reactor("uvloop", "kvsd.uvloop_reactor", "The event loop of uvloop, under Twisted's reactor for asyncio.")
