"""
A session: the causal token of the last answer, kept in a file from call to call.

Who uses the same file call after call sees his own writes, and nothing older than what he has seen, at whichever
node he asks.  The file is replaced as a whole, so that it is never half written, and only its owner can read it.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kvsd.ctl.client import Reply
from kvsd.ctl.failures import UNEXPECTED, Failure

TOKEN = "causal-metadata"
NODE = "node"


@dataclass
class Session:
    """A token, the node that gave it, and where both are kept; without a file nothing is."""

    path: Path | None = None
    token: object = None
    node: str | None = None

    def take(self, reply: Reply) -> None:
        """Keep the token of an answer, in the file too; raises Failure where it can't be written."""
        if self.path is None or TOKEN not in reply.body:
            return
        self.token, self.node = reply.body[TOKEN], reply.node
        try:
            replace(self.path, json.dumps({TOKEN: self.token, NODE: self.node}) + "\n")
        except OSError as error:
            text = f"the request was carried out, but its token could not be kept: {self.path}: {error.strerror}"
            hint = "the session is as before: it does not know of this request"
            raise Failure(UNEXPECTED, text, hint, {"reply": reply.body}) from error


def replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, for its owner only; raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: Path | None) -> Session:
    """The session of a file, a new one where there is none yet; raises click's UsageError for a bad file."""
    if path is None:
        return Session()
    path = path.resolve()
    try:
        kept = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise click.UsageError(f"--session {path}: there is no directory {path.parent}") from None
        return Session(path)
    except OSError as error:
        raise click.UsageError(f"--session {path}: {error.strerror}") from error
    except ValueError:
        kept = None
    return Session(path, *_checked(path, kept))


def _checked(path: Path, kept: Any) -> tuple[object, str | None]:
    """The token and the node of a session file."""
    if not isinstance(kept, dict) or TOKEN not in kept or not isinstance(kept.get(NODE), str | None):
        raise click.UsageError(
            f"--session {path}: this is no session file of kvsctl; name another, or remove it to begin anew"
        )
    return kept[TOKEN], kept.get(NODE)
