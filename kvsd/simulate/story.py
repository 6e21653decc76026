"""
A run in words: what happened, and what to think of it.
"""

from collections.abc import Iterable, Iterator, Mapping

from kvsd.simulate.history import Violation
from kvsd.simulate.machine import SECRET
from kvsd.simulate.run import Simulation
from kvsd.simulate.trace import Event
from kvsd.wire import EnvelopeCodec, WireError

LAST_EVENTS = 40
MAX_MESSAGE = 160
PLACES_WIDTH = 6


def cluster_lines(simulation: Simulation) -> Iterator[str]:
    """Who is who."""
    configuration = simulation.cluster.founding
    names = node_names(simulation)
    for shard in configuration.shards:
        members = (f"{names[address]} ({address})" for address in configuration.members(shard))
        yield f"shard {shard}: {', '.join(members)}"


def node_names(simulation: Simulation) -> dict[str, str]:
    """A short name for every node."""
    return {address: f"n{number}" for number, address in enumerate(simulation.cluster.machines, start=1)}


def story_lines(simulation: Simulation) -> Iterator[str]:
    """What happened, an event a line."""
    names = node_names(simulation)
    for event in simulation.trace.story:
        yield _line(event, names)


def _line(event: Event, names: Mapping[str, str]) -> str:
    places = " ".join(names.get(place, place) for place in event.places)
    return f"{event.seconds:9.3f} s  {places:{PLACES_WIDTH}} {_shortened(event.what, names)}"


def _shortened(text: str, names: Mapping[str, str]) -> str:
    for address, name in names.items():
        text = text.replace(address, name)
    return text


def verdict_lines(simulation: Simulation) -> Iterator[str]:
    """What to think of it."""
    verdict, answers = simulation.verdict, simulation.verdict.answers
    served = ", ".join(f"{answers[kind]:,} {kind}" for kind in ("found", "absent", "written", "unconfirmed"))
    yield (
        f"{verdict.operations:,} requests of clients were answered: {served}, {answers['later']:,} told to try again later; "
        f"{answers['none']:,} more met a closed door or a broken connection."
    )
    if verdict.orders:
        orders = ", ".join(f"{what} {count}" for what, count in sorted(verdict.orders.items()))
        yield f"Operators were answered: {orders}."
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(verdict.faults.items())) or "none"
    yield f"{verdict.faults.total()} faults of {len(verdict.faults)} kinds happened: {kinds}."
    yield f"It took {verdict.seconds:,.1f} simulated seconds; trace {verdict.digest}."
    if verdict.violations:
        yield f"{len(verdict.violations)} VIOLATIONS:"
        for violation in verdict.violations:
            yield f"  {violation}"
    else:
        yield f"No promise was broken; the cluster was at rest {verdict.settled:.1f} s after all was mended."


def evidence_lines(simulation: Simulation, violations: Iterable[Violation]) -> Iterator[str]:
    """The last events of the nodes that violations speak of, of all where they name none."""
    names = node_names(simulation)
    texts = [violation.text for violation in violations]
    concerned = [address for address in names if any(address in text for text in texts)] or list(names)
    yield f"The last events of {', '.join(names[address] for address in concerned)}:"
    codec = EnvelopeCodec(SECRET)
    for event in simulation.trace.last(concerned, LAST_EVENTS):
        yield _line(event, names) + _contents(codec, event)


def _contents(codec: EnvelopeCodec, event: Event) -> str:
    """What a message says, as far as it can be read."""
    if not event.body:
        return ""
    try:
        _, messages = codec.decode(event.body, event.places[1])
    except WireError as error:
        return f" [{error}]"
    return "".join(f"\n{'':24}{str(message)[:MAX_MESSAGE]}" for message in messages) or " (nothing)"
