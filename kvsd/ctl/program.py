"""
The program around all verbs: whatever happens in them ends as an exit status, and as one line for a failure.
"""

import os
import sys
from typing import Any

import click
from typing_extensions import override

from kvsd.ctl.failures import UNEXPECTED, WRONG, Failure, Stopped, Unwritten
from kvsd.ctl.options import Call
from kvsd.ctl.words import one_line

NOBODY_READS = 141  # what a shell shows for a program that SIGPIPE has ended


def wants_json(arguments: list[str]) -> bool:
    """Whether errors are to be JSON, for a command line that may be too wrong to be read in order."""
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def as_failure(error: BaseException) -> Failure:
    """What to tell of an error that no verb foresaw."""
    match error:
        case Failure():
            return error
        case KeyboardInterrupt() | EOFError() | click.Abort():
            return Stopped()
        case click.ClickException():
            return Failure(WRONG, error.format_message())
        case _:
            text = f"{type(error).__name__}: {error}"
            return Failure(UNEXPECTED, text, "this is a defect of kvsctl; KVSCTL_TRACEBACK=1 shows where")


def let_go_of_output() -> None:
    """Write nothing more: what is left unwritten stays so."""
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


class Program(click.Group):
    """A group of verbs whose failures are told in one line of text or JSON, never by a traceback."""

    @override
    def main(self, *arguments: Any, **options: Any) -> Any:
        given = options.get("args") or (arguments[0] if arguments else None)
        as_json = wants_json(list(sys.argv[1:] if given is None else given))
        sys.exit(self._outcome(as_json, arguments, {**options, "standalone_mode": False}))

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of a day's work, not of the alphabet

    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; Ctrl-C and output that can't be written are failures like others, before click makes more of them."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt as stop:
            raise Stopped from stop
        except BrokenPipeError:
            raise
        except OSError as error:
            let_go_of_output()
            raise Unwritten(error.strerror or str(error), ctx.ensure_object(Call).done) from error
        return result

    def _outcome(self, as_json: bool, arguments: tuple[Any, ...], options: dict[str, Any]) -> int:
        """Run the command line; gives the exit status."""
        if sys.stdout is None:  # it was closed: the first byte for it fails, as it does where the disk is full
            sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w")  # noqa: PTH123, SIM115
        try:
            status = super().main(*arguments, **options)
            sys.stdout.flush()
            return status if isinstance(status, int) else 0
        except click.UsageError as error:
            if as_json:
                return _tell(as_failure(error), as_json)
            error.show()
            return WRONG
        except (BrokenPipeError, SystemExit):  # click makes the latter of the former
            let_go_of_output()
            return NOBODY_READS
        except Exception as error:
            return _tell(_defect(error), as_json)


def _defect(error: Exception) -> Failure:
    """As ``as_failure``, but shows the traceback of what nobody foresaw to those who ask for it."""
    if not isinstance(error, Failure | click.ClickException | click.Abort | EOFError) and os.environ.get(
        "KVSCTL_TRACEBACK"
    ):
        raise error
    return as_failure(error)


def _tell(failure: Failure, as_json: bool) -> int:
    """Write a failure to standard error; gives its exit status."""
    click.echo(failure.document() if as_json else one_line(failure.line()), err=True)
    return failure.exit_status
