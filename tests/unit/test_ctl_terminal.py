"""kvsctl at a terminal: colours, rules, bars, and questions."""

import os
import pty
import re
import signal
import subprocess

from rich.console import Console
from rich.text import Text
from twisted.trial.unittest import SynchronousTestCase

from kvsd.ctl.screen import Sheet
from kvsd.ctl.words import count, duration, harmless, size, things
from tests.ctl_case import CtlCase
from tests.fake_node import Asked, reshard

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class TerminalTests(CtlCase):
    """What a person at a terminal sees."""

    def at_terminal(self, *words: str, keys: str = "", interrupt_after: int = 0, status: int = 0) -> str:
        """
        Run kvsctl at a terminal on which somebody has typed ``keys``; gives all that it wrote.

        It is interrupted after so many requests, if any number is given.
        """
        ours, theirs = pty.openpty()
        process = self.process(*words, stdin=theirs, stdout=theirs, stderr=subprocess.STDOUT)
        os.close(theirs)

        def interrupt(_: Asked) -> None:
            if len(self.node.asked) == interrupt_after:
                process.send_signal(signal.SIGINT)

        self.node.on_ask = interrupt
        os.write(ours, keys.encode())
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:
            pass  # the other end is closed: that is how a terminal ends
        finally:
            os.close(ours)
        text = said.decode().replace("\r\n", "\n")
        self.assertEqual(process.wait(30), status, text)
        return text

    def test_colours_and_rules(self) -> None:
        """Status is in colour, with a rule under each heading; a pipe gets neither."""
        text = self.at_terminal("status")
        self.assertIn("\x1b[32malive", text)
        self.assertIn("─────", text)
        plain = self.ctl("status").output
        self.assertNotIn("\x1b", plain)
        self.assertNotIn("─", plain)

    def test_question(self) -> None:
        """A reshard asks, and goes on after a yes, with a bar."""
        self.node.script = [reshard(120), None]
        text = self.at_terminal("reshard", "3", "--every", "0.01", keys="y\n")
        self.assertIn("Reshard to 3 shards now? [y/N]", text)
        self.assertIn("━", text)
        self.assertIn("Resharded: 3 shards, epoch 4.", ESCAPES.sub("", text))

    def test_no(self) -> None:
        """After a no, or Enter alone, nothing is changed."""
        for keys in ("n\n", "\n"):
            self.assertIn("nothing was changed", self.at_terminal("reshard", "3", keys=keys, status=130))
        self.assertEqual(self.node.paths("PUT"), [])

    def test_yes(self) -> None:
        """With --yes there is no question, nor with --json."""
        self.node.script = [reshard(120), None]
        self.assertNotIn("[y/N]", self.at_terminal("reshard", "3", "--yes", "--every", "0.01"))
        self.node.script, self.node.shards = [reshard(120), None], 2
        self.assertNotIn("[y/N]", self.at_terminal("reshard", "3", "--json", "--every", "0.01"))

    def test_interrupted_bar(self) -> None:
        """Ctrl-C in the terminal ends the bar and says how to look again."""
        self.node.script = [reshard(120)]
        text = self.at_terminal("progress", "--every", "0.01", interrupt_after=3, status=130)
        self.assertIn("60 %", text)
        self.assertIn("\nkvsctl progress: stopped watching; the reshard goes on", ESCAPES.sub("", text))

    def test_values_can_not_steer_the_terminal(self) -> None:
        """A value with control characters is shown with them spelled out at a terminal, and as it is in a pipe."""
        self.node.keys["k"] = "a\x1b[2Jb\tc"
        self.assertEqual(self.at_terminal("get", "k"), "a\\x1b[2Jb\tc\n")
        self.assertEqual(self.ctl("get", "k").output, "a\x1b[2Jb\tc\n")


class SheetTests(SynchronousTestCase):
    """Tables."""

    def shown(self, sheet: Sheet, width: int) -> list[str]:
        """The lines of a sheet at a terminal of a width."""
        console = Console(width=width, force_terminal=False)
        with console.capture() as capture:
            console.print(sheet.ruled())
        return [line.rstrip() for line in capture.get().splitlines()]

    def test_plain(self) -> None:
        """Columns are aligned, numbers to the right, and an empty cell is a dash."""
        sheet = Sheet(["name", ">number", "~text"])
        sheet.add("a", "1,000", Text("some words", style="red"))
        sheet.add("long", "1", None)
        self.assertEqual(list(sheet.lines()), ["name  number  text", "a      1,000  some words", "long       1  -"])

    def test_fold(self) -> None:
        """Where it is narrow, text is folded and nothing else."""
        sheet = Sheet(["name", "~text"])
        sheet.add("127.0.0.1:8090", "some words and more")
        self.assertEqual(self.shown(sheet, 30)[2:], ["127.0.0.1:8090  some words and", "                more"])

    def test_without(self) -> None:
        """A column can be left out."""
        sheet = Sheet(["a", ">b", "c"])
        sheet.add("1", "2", "3")
        self.assertEqual(list(sheet.without(">b").lines()), ["a  c", "1  3"])


class WordTests(SynchronousTestCase):
    """Numbers as people read them."""

    def test_duration(self) -> None:
        """Seconds, minutes, hours, days."""
        for seconds, text in [
            (None, "?"), (0, "0 s"), (0.26, "0.3 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"),
            (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3600, "1 h 00 min"), (90000, "1 d 1 h"),
        ]:  # fmt: skip
            self.assertEqual(duration(seconds), text)

    def test_size(self) -> None:
        """Bytes in the unit that suits them."""
        for number, text in [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]:
            self.assertEqual(size(number), text)
        self.assertEqual(size(5000 << 40), "5,000.0 TiB")

    def test_counts(self) -> None:
        """One thing, many things, nobody knows how many."""
        self.assertEqual(
            (things(1, "key"), things(1200, "key"), things(None, "key")), ("1 key", "1,200 keys", "? keys")
        )
        self.assertEqual(count(None), "?")

    def test_harmless(self) -> None:
        """Control characters are spelled out, letters of any script stay."""
        self.assertEqual(harmless("é\x1b\n", keep="\n"), "é\\x1b\n")
