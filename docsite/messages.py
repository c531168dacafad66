"""Every message that the product can show a user, read from its source code.

A message is the text of any exception, a warning or error for the log (which the command line prints), or any other sentence in
the code of the product that is no docstring, help text or log line of ``--verbose``; also a sentence of the web pages' scripts.
What stands in the code as ``{value}``, ``${value}`` or ``%s`` becomes ``…``.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PRODUCT = ("KernelNormalization", "EmphysemaQuant", "ctkernel")
NOT_PRODUCT = ("Testing", "selftest")
ROOT_ERROR = "CTKernelError"
PLACEHOLDER = "…"
# What Python raises itself; its text reaches users within other messages, as in "is damaged (…)".
BUILTIN_ERRORS = frozenset(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
)
# Calls whose texts go to the log of --verbose, to help, to a hint under the mouse or to a table's columns: none is a message.
SILENT_CALLS = ("debug", "info", "add_argument", "add_parser", "ArgumentParser", "setToolTip", "Column", "_words")
# Calls whose texts the command line prints, and Slicer's Error Log shows.
LOG_CALLS = ("warning", "error", "exception", "critical")
# Calls whose text is shown, or is a reason that becomes part of a sentence; it may be shorter than a sentence.
SHOWN_CALLS = (
    *(
        "no_hypotheses",
        "_faulty",
        "_fault",
        "faulty_file",
        "fault_in_words",
        "agrees",
        "differs",
        "note",
        "setStatus",
        "confirm",
        "ArgumentTypeError",
    ),
    *("errorDisplay", "warningDisplay", "infoDisplay", "confirmOkCancelDisplay", "confirmYesNoDisplay", "showStatusMessage"),
)
# A sentence has this many words, or two and a full stop; what has no full stop, or begins with a small letter, is a clause
# (a reason, a doubt), longer than a label.
FEWEST_WORDS, FEWEST_WORDS_OF_A_CLAUSE = 4, 8
_SENTENCE = re.compile(r"[.?](\s|…|$)|: ?…$")
_LOG_VALUE = re.compile(r"%[-+ #0-9.]*[a-zA-Z]")
# A comment of a script, or one of its texts in "", '' or ``.
_SCRIPT_TEXT = re.compile(r"""//[^\n]*|/\*.*?\*/|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\]|\\.)*)`""", re.DOTALL)
_PLUS = re.compile(r"\s*\+\s*")
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, order=True)
class Message:
    """A text that a user may read.

    Attributes:
        text: as in the code, values replaced by ``…``.
        file: path below the repository, with ``/``.
        line: number of its line.
        error: class of the expected failure that it is the text of; empty for any other sentence.
    """

    text: str
    file: str
    line: int
    error: str = ""

    @property
    def place(self) -> str:
        """File and line, as tools print them."""
        return f"{self.file}:{self.line}"


def product_files(root: Path) -> list[Path]:
    """The Python files of the product below the repository's ``root``, sorted."""
    found = (path for folder in PRODUCT for path in (root / folder).rglob("*.py"))
    return sorted(path for path in found if not set(path.relative_to(root).parts) & {*NOT_PRODUCT, "__pycache__"})


def find_messages(root: Path) -> list[Message]:
    """All messages of the product, in the order of files and lines."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in product_files(root)}
    errors = user_errors(trees.values())
    in_python = [
        message
        for path, tree in trees.items()
        for message in sorted(_messages_of(tree, path.relative_to(root).as_posix(), errors), key=lambda m: m.line)
    ]
    scripts = sorted(path for folder in PRODUCT for path in (root / folder).rglob("*.js"))
    return in_python + [message for path in scripts for message in _messages_of_script(path, root)]


def user_errors(trees: Iterable[ast.Module]) -> frozenset[str]:
    """Names of the classes that derive, directly or not, from the root of all expected failures."""
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {ROOT_ERROR}
    while more := {name for name, parents in bases.items() if parents & known and name not in known}:
        known |= more
    return frozenset(known)


def template(node: ast.AST) -> str | None:
    """Text of a string, a formatted string or a sum of them, with ``…`` for values; ``None`` for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else PLACEHOLDER for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = (template(node.left), template(node.right))
        return None if parts == (None, None) else "".join(PLACEHOLDER if part is None else part for part in parts)
    if isinstance(node, ast.Call) and (translated := _translated(node)) is not None:
        text = template(translated)
        return None if text is None else re.sub(r"\{[^{}]*\}", PLACEHOLDER, text)
    return None


def _messages_of(tree: ast.Module, file: str, errors: frozenset[str]) -> Iterator[Message]:
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }

    def walk(node: ast.AST, context: str) -> Iterator[Message]:
        if id(node) in docstrings:
            return
        called = _called(node) if isinstance(node, ast.Call) else context
        if called in SILENT_CALLS and isinstance(node, ast.Call):
            return
        text = template(node)
        if text is not None:
            shown = _plain(text)
            error = context if context in errors or context in BUILTIN_ERRORS else ""
            if context in LOG_CALLS:
                shown = _plain(_LOG_VALUE.sub(PLACEHOLDER, shown))
            if ((error or context in (*SHOWN_CALLS, *LOG_CALLS)) and len(shown.split()) > 1) or _is_sentence(shown):
                yield Message(shown, file, getattr(node, "lineno", 0), error)
            # A text inside the values of another one, such as one of two endings, is part of that sentence.
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child, called)

    yield from walk(tree, "")


def _messages_of_script(path: Path, root: Path) -> Iterator[Message]:
    """Sentences among the texts of a web page's script; texts that ``+`` joins are one."""
    script = path.read_text(encoding="utf-8")
    found = list(_SCRIPT_TEXT.finditer(script))
    texts = [next((part for part in text.groups() if part), "") for text in found]
    for n in range(len(found) - 1, 0, -1):
        if texts[n - 1] and _PLUS.fullmatch(script, found[n - 1].end(), found[n].start()):
            texts[n - 1], texts[n] = texts[n - 1] + texts[n], ""
    for place, text in zip(found, texts, strict=True):
        shown = _plain(re.sub(r"\$\{[^{}]*\}", PLACEHOLDER, text))
        if _is_sentence(shown):
            yield Message(shown, path.relative_to(root).as_posix(), script.count("\n", 0, place.start()) + 1)


def _is_sentence(text: str) -> bool:
    words = [word for word in text.split() if any(letter.isalpha() for letter in word)]
    if len(words) >= FEWEST_WORDS_OF_A_CLAUSE:
        return True
    if text[:1].islower():
        return False
    if text.endswith(".") and len(words) < FEWEST_WORDS:
        return len(words) > 1 or (PLACEHOLDER in text and text[:1].isupper())
    return len(words) >= FEWEST_WORDS and _SENTENCE.search(text) is not None


def _plain(text: str) -> str:
    return re.sub(f"{PLACEHOLDER}+", PLACEHOLDER, " ".join(_TAG.sub(" ", text).split()))


def _translated(node: ast.Call) -> ast.AST | None:
    """What ``_("…")`` or ``"…".format(…)`` is made from."""
    if _called(node) == "_" and node.args:
        return node.args[0]
    if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return node.func.value
    return None


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]
