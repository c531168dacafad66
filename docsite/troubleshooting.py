"""The table of all messages: texts from the code, explanations written by hand beside them, and what is missing.

The explanations stand in ``docs/troubleshooting/*.toml``, one file a topic:

    title = "Reading a DICOM series"
    about = "One sentence below the heading."

    [[group]]
    messages = ["*has no rescale slope*"]    # ``*`` stands for anything; values in the code are ``…``
    means = "What it means."
    do = "What to do."

A group may have ``library = [...]`` too: messages that a library words, which the code does not hold, with ``…`` for values.
A message belongs to the first group that one of its patterns fits. ``not_messages.toml`` lists, in the same form with ``why``
instead of ``means`` and ``do``, sentences of the code that are no message.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .messages import Message, find_messages

FOLDER = Path("docs") / "troubleshooting"
NOT_MESSAGES = "not_messages.toml"


@dataclass
class Group:
    """Messages that mean the same.

    Attributes:
        patterns: which messages they are.
        means: what it means.
        do: what to do.
        library: texts of such messages that a library words, as users see them.
        found: the messages of the code that belong to it.
        unused: patterns that no message of the code fits.
    """

    patterns: tuple[str, ...]
    means: str
    do: str
    library: tuple[str, ...] = ()
    found: list[Message] = field(default_factory=list)
    unused: set[str] = field(default_factory=set)

    @property
    def texts(self) -> list[str]:
        """All texts of the row, each once."""
        return list(dict.fromkeys((*(message.text for message in self.found), *self.library)))

    def takes(self, message: Message) -> bool:
        """Whether a pattern fits the whole text; the pattern then counts as used."""
        fitting = {pattern for pattern in self.patterns if _expression(pattern).fullmatch(message.text)}
        self.unused -= fitting
        return bool(fitting)


@dataclass
class Topic:
    """A section of the page: a title, a sentence about it, and groups of messages; ``file`` is where they stand."""

    file: str
    title: str
    about: str
    groups: list[Group]


@dataclass
class Table:
    """The whole table, and what is wrong with it: messages without explanation, patterns without message."""

    topics: list[Topic]
    missing: list[Message]
    stale: list[str]

    @property
    def faults(self) -> list[str]:
        """One line for each fault, saying where to mend it."""
        missing = [
            f"{m.place} {m.error or 'sentence'} has no explanation: “{m.text}”. Add it to a group of the topic that fits in "
            f'{FOLDER.as_posix()}/*.toml (messages = ["…"], means, do), or to {NOT_MESSAGES} if no user reads it.'
            for m in self.missing
        ]
        return missing + self.stale


def read_table(root: Path) -> Table:
    """The table of the repository at ``root``."""
    return make_table(find_messages(root), root / FOLDER)


def make_table(messages: Sequence[Message], folder: Path) -> Table:
    """Sort ``messages`` into the groups of the ``*.toml`` files of ``folder``."""
    topics = [_topic(path) for path in sorted(folder.glob("*.toml"))]
    missing = []
    for message in messages:
        fitting = [group for topic in topics for group in topic.groups if group.takes(message)]
        if fitting:
            fitting[0].found.append(message)
        else:
            missing.append(message)
    stale = [
        f"{FOLDER.as_posix()}/{topic.file}: no message in the code fits the pattern “{pattern}”. Correct it, or take it out."
        for topic in topics
        for group in topic.groups
        for pattern in sorted(group.unused)
    ]
    return Table([topic for topic in topics if topic.file != NOT_MESSAGES], missing, stale)


def page(table: Table) -> str:
    """The page as Markdown with one HTML table a topic."""
    texts = {text for topic in table.topics for group in topic.groups for text in group.texts}
    parts = [
        "# Every message, what it means, what to do",
        f"{len(texts)} messages, read from the source code when these pages are built; `…` stands for a name or a number. "
        "Search this page (Ctrl+F) for a few words of what you were told.",
    ]
    for topic in table.topics:
        rows = "".join(_row(group) for group in topic.groups if group.texts)
        if rows:
            head = "<thead><tr><th>Message</th><th>What it means</th><th>What to do</th></tr></thead>"
            parts += [f"## {topic.title}", topic.about, f'<table class="messages">{head}<tbody>{rows}</tbody></table>']
    return "\n\n".join(parts) + "\n"


def _row(group: Group) -> str:
    texts = "".join(f"<p>{html.escape(text)}</p>" for text in group.texts)
    cells = (("Message", texts), ("What it means", _marked(group.means)), ("What to do", _marked(group.do)))
    return "<tr>" + "".join(f'<td data-head="{head}">{cell}</td>' for head, cell in cells) + "</tr>"


def _marked(text: str) -> str:
    """HTML of an explanation, in which `code` and *emphasis* are written as in Markdown."""
    parts = re.split(r"`([^`]+)`", html.escape(text))
    plain = [
        re.sub(r"\*([^*]+)\*", r"<em>\1</em>", part) if n % 2 == 0 else f"<code>{part}</code>" for n, part in enumerate(parts)
    ]
    return "".join(plain)


def _topic(path: Path) -> Topic:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    groups = [
        Group(
            tuple(g.get("messages", ())),
            g.get("means", ""),
            g.get("do", ""),
            tuple(g.get("library", ())),
            unused=set(g.get("messages", ())),
        )
        for g in content["group"]
    ]
    return Topic(path.name, content["title"], content["about"], groups)


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
