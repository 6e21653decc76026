"""
Defects of what readers are shown once more, and of what nodes confirm: it is not what they would see by now.
"""

from kvsd.replication import reader
from kvsd.replication.confirming import Heard
from kvsd.replication.heartbeats import Heartbeats
from kvsd.replication.lasting import Lasting
from kvsd.replication.reader import Reader
from kvsd.replication.routing import Routing
from kvsd.replication.shown import Shown
from kvsd.replication.store import Store
from tests.simulation.mutants.planting import Plant, Planting


def shown_to_who_has_seen_more(planting: Planting) -> None:
    """Who has seen something is not given a token that lacks it."""
    planting.rewrite(Shown, "again", (" or token.dependencies", ""), ("token.hlc > seen.hlc or ", ""))


def read_at_once_before_sync(planting: Planting) -> None:
    """A read is answered at once only where what it saw is durable."""
    planting.rewrite(Reader, "anew", ("None if after else ", ""))


def changes_that_are_not_noted(planting: Planting) -> None:
    """It is noted which keys change."""
    planting.rewrite(Store, "_set", ("self.changes.note(key[1])", "pass"))


def rows_that_are_dropped_are_not_noted(planting: Planting) -> None:
    """A row that is dropped has changed, too."""
    planting.rewrite(Store, "_set", ("self.changes.note(key[1])", "after and self.changes.note(key[1])"))


def same_outlook_with_other_reports(planting: Planting) -> None:
    """The outlook is another one where less is stable than was: tokens say more then."""
    planting.rewrite(Reader, "look", ("self._stability.falls, ", "0, "))


def same_outlook_in_another_configuration(planting: Planting) -> None:
    """The outlook is another one in another configuration."""
    planting.rewrite(Reader, "look", ("self._state.epoch, ", "0, "))


def basis_of_what_does_not_last(planting: Planting) -> None:
    """Only a token that names nothing stays the same."""
    planting.rewrite(reader, "lasts", (" and not outcome.token.dependencies", ""))


def basis_before_sync(planting: Planting) -> None:
    """A read that was forwarded is answered once what it saw is durable, whether that lasts or not."""
    planting.rewrite(Routing, "_serve", (" and not attempt.after", ""))


def lasting_whatever_changes(planting: Planting) -> None:
    """What lasts is shown again only until its key changes."""
    planting.rewrite(Lasting, "again", ("if not self._changes.unchanged(request.key, told.changes):", "if False:"))


def lasting_under_another_outlook(planting: Planting) -> None:
    """What lasts is shown again only under the same outlook."""
    planting.rewrite(Lasting, "again", (" or told.outlook != outlook", ""))


def confirmed_without_looking(planting: Planting) -> None:
    """What has changed at who told it is not confirmed."""
    planting.rewrite(Heard, "confirms", (" and self._last.get(request.key, 0) <= count", ""))


def reports_that_are_not_noticed(planting: Planting) -> None:
    """What a peer reports is looked at wherever it says something else than before."""
    planting.rewrite(Heartbeats, "heard", ("if vector != peer.vectors[shard]]", "if False]"))


DEFECTS: list[Plant] = [
    changes_that_are_not_noted,
    rows_that_are_dropped_are_not_noted,
    same_outlook_with_other_reports,
    same_outlook_in_another_configuration,
    basis_of_what_does_not_last,
    basis_before_sync,
    lasting_whatever_changes,
    lasting_under_another_outlook,
    confirmed_without_looking,
    reports_that_are_not_noticed,
    shown_to_who_has_seen_more,
    read_at_once_before_sync,
]
