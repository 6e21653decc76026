"""
What can go wrong, as an exit status and one line that says what, where, and what to do next.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from kvsd.ctl.words import one_line

NOT_FOUND, WRONG, CONFLICT, LATER, UNREACHED, UNEXPECTED, STOPPED = 1, 2, 3, 4, 5, 6, 130

EXITS = """\b
Exit status:
  0    done
  1    not found: the key, node or shard, or a reshard to follow or abort
  2    the command makes no sense, or the node refused the request as wrong
  3    another change of the cluster is under way
  4    not now: try again later (a node down, causes missing, disk full)
  5    no node could be reached
  6    anything else; for a change whose answer failed to come: it may have
       been carried out; also if the output can't be written
  130  stopped by the operator: Ctrl-C, or "no" to a question
"""

NAMING = ("key", "shard", "target", "shards")
"""The arguments that say what a verb is about."""

OTHER_VERSION = "the node seems to be of another version than kvsctl"
NO_SUCH_PATH = "Not found: there is nothing under this path"
HINTS = {
    405: OTHER_VERSION,
    409: "'kvsctl status' shows what is under way",
    500: "the log of that node has more",
    503: "try again later; 'kvsctl status' shows what is amiss",
    504: "it may still get done: look with 'kvsctl status' before you try again",
    507: "free some disk space at that node",
}


def exit_for(status: int) -> int:
    """The exit status for an HTTP status that is no success."""
    match status:
        case 404:
            return NOT_FOUND
        case 400 | 413:
            return WRONG
        case 409:
            return CONFLICT
        case 408 | 429 | 503 | 504 | 507:
            return LATER
        case _:
            return UNEXPECTED


def _command() -> str:
    """What is being done, as it was typed but without options."""
    context = click.get_current_context(silent=True)
    if context is None:
        return "kvsctl"
    return " ".join([context.command_path, *(str(context.params[name]) for name in NAMING if name in context.params)])


class Failure(Exception):
    """The verb could not be carried out; ``facts`` go into the error where it is written as JSON."""

    def __init__(self, exit_status: int, text: str, hint: str = "", facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.message = one_line(text)
        self.exit_status = exit_status
        self.hint = hint
        self.facts = dict(facts or {})
        self._command = _command()

    def line(self) -> str:
        """The failure in one line for people."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self._command}: {self.message}{hint}"

    def document(self) -> str:
        """The failure as one line of JSON."""
        said = {"error": self.message, "hint": self.hint or None, "exit-status": self.exit_status}
        return json.dumps({**said, **self.facts}, ensure_ascii=False)


class Refused(Failure):
    """A node answered, and its answer is no; ``body`` is the answer."""

    def __init__(self, node: str, status: int, body: Mapping[str, Any], hints: Mapping[int, str] | None = None) -> None:
        said = body.get("error")
        text = said if isinstance(said, str) else f"it answers with status {status}"
        hint = OTHER_VERSION if text.startswith(NO_SUCH_PATH) else {**HINTS, **(hints or {})}.get(status, "")
        super().__init__(exit_for(status), f"{node}: {text}", hint, {"node": node, "status": status, "reply": body})
        self.status = status
        self.body = body


class Unreached(Failure):
    """No node could be asked; ``troubles`` says for each why not.  Nothing was carried out."""

    def __init__(self, troubles: Mapping[str, str]) -> None:
        which = "; ".join(f"{node}: {trouble}" for node, trouble in troubles.items())
        hint = "start it, or name a node that runs with --node IP:PORT"
        super().__init__(UNREACHED, f"no node could be reached: {which}", hint, {"nodes": dict(troubles)})


class Unanswered(Failure):
    """A change was sent and no answer came, so nobody knows whether it was carried out."""

    def __init__(self, node: str, trouble: str) -> None:
        text = f"{node}: no answer: {trouble}; the change may have been carried out"
        super().__init__(UNEXPECTED, text, "look before you repeat it", {"node": node})


class Unwritten(Failure):
    """
    Standard output took nothing more, so that the answer is lost.

    ``done`` are the changes that nodes carry out by then: a caller who sees no answer must not take them for undone.
    """

    def __init__(self, trouble: str, done: Sequence[str]) -> None:
        if not done:
            so, hint = "nothing was changed", "make room for the output, and ask again"
        elif all("/kvs/" in each for each in done):
            so, hint = "the write was carried out", "don't repeat it: 'kvsctl get' shows the key"
        else:
            so, hint = (
                "the change was accepted and is carried out",
                "don't repeat it: 'kvsctl status' shows the cluster",
            )
        text = f"the answer can't be written to standard output: {trouble}; {so}"
        super().__init__(UNEXPECTED, text, hint, {"done": list(done)})


class Stopped(Failure):
    """The operator stopped the command."""

    def __init__(self, text: str = "stopped", hint: str = "") -> None:
        super().__init__(STOPPED, text, hint)
