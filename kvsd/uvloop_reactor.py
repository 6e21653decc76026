"""
The reactor of ``twistd --reactor=uvloop``: Twisted's for asyncio, on the event loop of uvloop.

(``--reactor=asyncio`` stays on asyncio's own loop, whatever policy is set.)
"""

from twisted.internet import asyncioreactor


def install() -> None:
    """
    Make it the reactor of this process; twistd calls this before anything else asks for one.

    Raises ImportError, with a sentence for the operator, where uvloop is not installed.
    """
    try:
        import uvloop  # noqa: PLC0415 (an extra)
    except ImportError:
        raise ImportError('uvloop is not installed here (pip install "kvsd[uvloop]")') from None
    asyncioreactor.install(uvloop.new_event_loop())
