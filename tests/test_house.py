"""
The house rules a machine can check: sizes, names, docstrings, imports.

Each rule is a function from a module's path and syntax tree to the complaints it has.  That every rule bites is
tested too, on a short bad source for each.  Which module may import which is checked by ``lint-imports``; the
contracts are in ``setup.cfg``.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

FILE_LINES = 300
LONGER_FILES = {"kvsd/replication/replica.py": 350}
FUNCTION_LINES = 40
FUNCTION_LINES_MEDIAN = 10
FUNCTION_LINES_P95 = 25
CLASS_METHODS = 15

BANNED_WORDS = {"manager", "handler", "processor", "engine", "component", "helper", "util"}
BANNED_MODULES = {"utils", "common", "helpers", "misc"}
REACTOR_IN = {("kvsd/tap.py", "makeService")}
PRINTING = {"kvsd/local/__main__.py", "kvsd/demo/__main__.py", "kvsd/simulate/__main__.py"}
NEVER_THERE = ["twisted/__init__.py", "twisted/plugins/__init__.py"]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A source file: its path as seen from the root of the project, its text and its tree."""

    path: str
    source: str
    tree: ast.Module


Rule = Callable[[Module], Iterator[str]]


def parse(path: str, source: str) -> Module:
    """Read a source text as the module at path."""
    return Module(path, source, ast.parse(source, path))


def functions(tree: ast.AST) -> Iterator[FunctionNode]:
    """All functions and methods, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, FunctionNode))


def function_lines(node: FunctionNode) -> int:
    """Lines from ``def`` to the end of the body; decorators and the docstring don't count, explaining is free."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is None:
        return lines
    docstring = node.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case and without a plural's s."""
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {word.lower().removesuffix("s") for word in found}


def short_file(module: Module) -> Iterator[str]:
    """A file has at most so many lines."""
    lines, limit = len(module.source.splitlines()), LONGER_FILES.get(module.path, FILE_LINES)
    if lines > limit:
        yield f"{module.path}:{limit + 1}: the file has {lines} lines, over the limit of {limit}"


def short_functions(module: Module) -> Iterator[str]:
    """A function has at most so many lines."""
    for node in functions(module.tree):
        if (lines := function_lines(node)) > FUNCTION_LINES:
            yield f"{module.path}:{node.lineno}: {node.name} has {lines} lines, over the limit of {FUNCTION_LINES}"


def small_classes(module: Module) -> Iterator[str]:
    """A class has at most so many methods; an overload is not one of its own."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            names = {child.name for child in node.body if isinstance(child, FunctionNode)}
            if len(names) > CLASS_METHODS:
                yield f"{module.path}:{node.lineno}: {node.name} has {len(names)} methods, over the limit of {CLASS_METHODS}"


def needs_docstring(node: ast.AST) -> bool:
    """Whether a definition is public and the first to say what it does (no overload, no setter, no override)."""
    if isinstance(node, ast.ClassDef):
        return not node.name.startswith("_")
    if not isinstance(node, FunctionNode) or node.name.startswith("_"):
        return False
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return not decorators & {"overload", "override", "setter", "deleter"}


def public_definitions(body: list[ast.stmt]) -> Iterator[FunctionNode | ast.ClassDef]:
    """What a module or class defines for others, classes in classes too."""
    for node in body:
        if isinstance(node, FunctionNode | ast.ClassDef) and needs_docstring(node):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def docstrings(module: Module) -> Iterator[str]:
    """Every public module, class and function says what it is."""
    if not ast.get_docstring(module.tree):
        yield f"{module.path}:1: the module has no docstring"
    for node in public_definitions(module.tree.body):
        if not ast.get_docstring(node):
            yield f"{module.path}:{node.lineno}: {node.name} is public and has no docstring"


def honest_names(module: Module) -> Iterator[str]:
    """No class or module has a name that fits anything."""
    stem = Path(module.path).stem
    if banned := words(stem) & BANNED_WORDS or {stem} & BANNED_MODULES:
        yield f"{module.path}:1: the module's name says nothing: {', '.join(sorted(banned))}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and (banned := words(node.name) & BANNED_WORDS):
            yield f"{module.path}:{node.lineno}: {node.name}: the name says nothing: {', '.join(sorted(banned))}"


def empty_packages(module: Module) -> Iterator[str]:
    """An ``__init__.py`` holds a docstring and nothing else."""
    if Path(module.path).name == "__init__.py":
        for node in module.tree.body[1 if ast.get_docstring(module.tree) else 0 :]:
            yield f"{module.path}:{node.lineno}: an __init__.py holds a docstring and nothing else"


def absolute_imports(module: Module) -> Iterator[str]:
    """Imports name the whole path."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{module.path}:{node.lineno}: a relative import; write kvsd.… in full"


def names_reactor(node: ast.AST) -> bool:
    """Whether a node imports or names the global reactor."""
    match node:
        case ast.ImportFrom(module="twisted.internet", names=names):
            return any(alias.name == "reactor" for alias in names)
        case ast.ImportFrom(module="twisted.internet.reactor"):
            return True
        case ast.Import(names=names):
            return any(alias.name == "twisted.internet.reactor" for alias in names)
        case ast.Attribute(attr="reactor"):
            return ast.unparse(node) in {"internet.reactor", "twisted.internet.reactor"}
        case _:
            return False


def given_reactor(module: Module) -> Iterator[str]:
    """Only the function that puts a program together imports the reactor; all else is given a clock."""
    allowed = {
        id(inner)
        for node in module.tree.body
        if isinstance(node, FunctionNode) and (module.path, node.name) in REACTOR_IN
        for inner in ast.walk(node)
    }
    for node in ast.walk(module.tree):
        if names_reactor(node) and id(node) not in allowed:
            yield f"{module.path}:{getattr(node, 'lineno', 1)}: the global reactor; take IReactorTime as an argument"


def no_printing(module: Module) -> Iterator[str]:
    """A daemon logs; only the programs for a terminal print."""
    for node in ast.walk(module.tree):
        if module.path not in PRINTING and isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield f"{module.path}:{node.lineno}: print(); log it instead"


def tells_a_type(test: ast.expr) -> bool:
    """Return True if a condition only narrows a type: ``x is not None``, ``isinstance``, and several of these."""
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(tells_a_type(value) for value in values)
        case ast.Compare(ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return True
        case ast.Call(func=ast.Name(id="isinstance")):
            return True
        case _:
            return False


def lasting_invariants(module: Module) -> Iterator[str]:
    """An assert is left out under ``python -O``, so it may only tell the type checker what a value is."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assert) and not tells_a_type(node.test):
            yield f"{module.path}:{node.lineno}: an assert that tells more than a type; raise an exception of its own"


RULES: list[Rule] = [
    lasting_invariants,
    short_file,
    short_functions,
    small_classes,
    docstrings,
    honest_names,
    empty_packages,
    absolute_imports,
    given_reactor,
    no_printing,
]


def typical_functions(modules: list[Module]) -> Iterator[str]:
    """Over all modules together, most functions are short."""
    sizes = [function_lines(node) for module in modules for node in functions(module.tree)]
    if len(sizes) < 2:
        return
    if (middle := median(sizes)) > FUNCTION_LINES_MEDIAN:
        yield f"kvsd: the median function has {middle:g} lines, over the limit of {FUNCTION_LINES_MEDIAN}"
    if (high := quantiles(sizes, n=20, method="inclusive")[-1]) > FUNCTION_LINES_P95:
        yield f"kvsd: one function in 20 has more than {high:g} lines, over the limit of {FUNCTION_LINES_P95}"


def complaints(rule: Rule, path: str, source: str) -> list[str]:
    """What a rule says about a source text."""
    return list(rule(parse(path, source)))


class HouseTests(SynchronousTestCase):
    """The code of kvsd keeps the house rules."""

    def setUp(self) -> None:
        """Read all modules of kvsd, and the plugin."""
        paths = sorted([*ROOT.glob("kvsd/**/*.py"), *ROOT.glob("twisted/**/*.py")])
        self.modules = [parse(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths]

    def test_rules(self) -> None:
        """No module breaks a rule."""
        broken = [complaint for module in self.modules for rule in RULES for complaint in rule(module)]
        if broken:
            self.fail("\n".join(broken))

    def test_typical_functions(self) -> None:
        """Functions are short on the whole, not at their longest only."""
        self.assertEqual([], list(typical_functions(self.modules)))

    def test_something_was_read(self) -> None:
        """The rules have been asked about the code that is here, not about an empty directory."""
        self.assertIn("kvsd/__init__.py", [module.path for module in self.modules])
        self.assertIn("twisted/plugins/kvsd_plugin.py", [module.path for module in self.modules])

    def test_plugin_directory_is_no_package(self) -> None:
        """An ``__init__.py`` beside the plugin would shadow Twisted itself, or hide the plugin from twistd."""
        self.assertEqual([], [path for path in NEVER_THERE if (ROOT / path).exists()])


class RuleTests(SynchronousTestCase):
    """Each rule bites, at the right line, and lets its neighbours pass."""

    def assert_bites(self, rule: Rule, source: str, line: int, path: str = "kvsd/x.py") -> None:
        """The rule has one complaint about the source, at the line, in the form ``path:line: text``."""
        found = complaints(rule, path, source)
        self.assertEqual(1, len(found), found)
        self.assertTrue(found[0].startswith(f"{path}:{line}: "), found[0])

    def assert_passes(self, rule: Rule, source: str, path: str = "kvsd/x.py") -> None:
        """The rule has no complaint about the source."""
        self.assertEqual([], complaints(rule, path, source))

    def test_short_file(self) -> None:
        """A file over the limit is named; the one that may be longer has its own limit."""
        self.assert_passes(short_file, "x = 1\n" * FILE_LINES)
        self.assert_bites(short_file, "x = 1\n" * (FILE_LINES + 1), FILE_LINES + 1)
        for path, limit in LONGER_FILES.items():
            self.assert_passes(short_file, "x = 1\n" * limit, path)
            self.assert_bites(short_file, "x = 1\n" * (limit + 1), limit + 1, path)

    def test_short_functions(self) -> None:
        """A function over the limit is named, a method and an async one too; a docstring doesn't count."""
        body = "    x = 1\n" * (FUNCTION_LINES - 1)
        self.assert_passes(short_functions, "def f():\n" + body)
        self.assert_passes(short_functions, 'def f():\n    """A\n    B"""\n' + body)
        self.assert_bites(short_functions, "\ndef f():\n" + body + "    x = 1\n", 2)
        self.assert_bites(short_functions, "async def f():\n" + body + "    x = 1\n", 1)
        self.assert_bites(short_functions, "class C:\n  def f(self):\n" + body + "    x = 1\n", 2)

    def test_small_classes(self) -> None:
        """A class over the limit is named."""
        methods = [f"    def f{number}(self): pass\n" for number in range(CLASS_METHODS + 1)]
        self.assert_passes(small_classes, "class C:\n" + "".join(methods[1:]))
        self.assert_passes(small_classes, "class C:\n" + "".join(methods[1:] * 2))
        self.assert_bites(small_classes, "class C:\n" + "".join(methods), 1)

    def test_docstrings(self) -> None:
        """A module, class, function or method without a docstring is named, unless it is private or inside a function."""
        self.assert_bites(docstrings, "x = 1\n", 1)
        self.assert_bites(docstrings, '"""M."""\ndef f(): pass\n', 2)
        self.assert_bites(docstrings, '"""M."""\nclass C:\n    """C."""\n    async def f(self): pass\n', 4)
        self.assert_bites(docstrings, '"""M."""\nclass C:\n    """C."""\n    class D: pass\n', 4)
        self.assert_passes(docstrings, '"""M."""\nclass _C:\n    def f(self): pass\n')
        self.assert_passes(docstrings, '"""M."""\ndef f():\n    """F."""\n    def g(): pass\n')
        self.assert_passes(
            docstrings, '"""M."""\nclass C:\n    """C."""\n    @typing.override\n    def f(self): pass\n'
        )

    def test_honest_names(self) -> None:
        """A class or module that could be anything is named; a longer word that happens to hold one is not."""
        self.assert_bites(honest_names, "class PeerManager: pass\n", 1)
        self.assert_bites(honest_names, "\nclass HTTPHandlers: pass\n", 2)
        self.assert_bites(honest_names, "", 1, "kvsd/peer_helper.py")
        for stem in BANNED_MODULES:
            self.assert_bites(honest_names, "", 1, f"kvsd/{stem}.py")
        self.assert_passes(honest_names, "class Utility: pass\n", "kvsd/handling.py")

    def test_empty_packages(self) -> None:
        """An ``__init__.py`` with code in it is named."""
        self.assert_passes(empty_packages, '"""P."""\n', "kvsd/__init__.py")
        self.assert_bites(empty_packages, '"""P."""\nfrom kvsd import x\n', 2, "kvsd/__init__.py")
        self.assert_passes(empty_packages, '"""P."""\nfrom kvsd import x\n')

    def test_absolute_imports(self) -> None:
        """A relative import is named."""
        self.assert_bites(absolute_imports, "from . import x\n", 1)
        self.assert_bites(absolute_imports, "def f():\n    from ..x import y\n", 2)
        self.assert_passes(absolute_imports, "from kvsd.x import y\n")

    def test_given_reactor(self) -> None:
        """The reactor is imported nowhere but in makeService of the tap."""
        inside = "def makeService(options):\n    from twisted.internet import reactor\n"
        self.assert_passes(given_reactor, inside, "kvsd/tap.py")
        self.assert_bites(given_reactor, inside, 2)
        self.assert_bites(given_reactor, "from twisted.internet import defer, reactor\n", 1, "kvsd/tap.py")
        self.assert_bites(given_reactor, "import twisted.internet.reactor\n", 1)
        self.assert_bites(given_reactor, "from twisted.internet.reactor import callLater\n", 1)
        self.assert_bites(given_reactor, "from twisted import internet\ninternet.reactor.run()\n", 2)
        self.assert_passes(given_reactor, "self.reactor.callLater(1, f)\n")

    def test_lasting_invariants(self) -> None:
        """An assert that guards anything is named; one that only tells a type is not."""
        self.assert_bites(lasting_invariants, "\nassert x == y\n", 2)
        self.assert_bites(lasting_invariants, "def f():\n    assert x is not None and x > 1\n", 2)
        self.assert_bites(lasting_invariants, "assert x\n", 1)
        self.assert_passes(lasting_invariants, 'assert x is not None and isinstance(y, int), "they are"\n')

    def test_no_printing(self) -> None:
        """A print is named, but for the programs that speak to a terminal."""
        self.assert_bites(no_printing, "def f():\n    print(1)\n", 2)
        self.assert_passes(no_printing, "print(1)\n", "kvsd/demo/__main__.py")

    def test_typical_functions(self) -> None:
        """Functions that are all just under the limit, and a fat tail, are both too long on the whole."""
        short, long = "def f():\n    x = 1\n", "def g():\n" + "    x = 1\n" * (FUNCTION_LINES_P95 + 1)
        self.assertEqual([], list(typical_functions([parse("kvsd/x.py", short * 19 + long)])))
        self.assertEqual(1, len(list(typical_functions([parse("kvsd/x.py", short * 17 + long * 3)]))))
        self.assertEqual(2, len(list(typical_functions([parse("kvsd/x.py", long * 3)]))))
        self.assertEqual([], list(typical_functions([])))
