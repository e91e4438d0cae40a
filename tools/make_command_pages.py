"""Write docs/commands/*.md from the command line's own help. `--check` only compares.

usage: python tools/make_command_pages.py [--check]
"""

from __future__ import annotations

import html
import re
import sys

from cli_tree import ROOT, Command, Option, edgepose, write_or_check

FOLDER = ROOT / "docs" / "commands"
NOTE = (
    "<!-- written by tools/make_command_pages.py from the command line; edit the help there -->\n"
)


def page(command: Command) -> str:
    """One page: the command, and the commands below it as sections."""
    out = [NOTE, f"# {command.title}"]
    if command.name == "posenet":
        out.append("`posenet` and `edgepose posenet` are the same.")
    for part in command.walk():
        if part is not command:
            out.append(f"## {part.title}")
        out += section(part)
    return "\n\n".join(out).replace(NOTE + "\n\n", NOTE) + "\n"


def section(command: Command) -> list[str]:
    """Usage, description and options."""
    out = [f"```\n{command.usage}\n```"]
    for code, text in command.paragraphs():
        out.append(f"```\n{text}\n```" if code else escaped(text))
    for title, options in command.panels().items():
        out.append(f"**{title}**" if title != "Options" else "**Options**")
        rows = ["| option | |", "|---|---|", *map(row, options)]
        out.append("\n".join(rows))
    return out


def row(option: Option) -> str:
    """One row of the table."""
    names = ", ".join(f"`{name}`" for name in (*option.names, *option.off))
    value = f" `{option.value}`" if option.value else ""
    words = option.help.replace(".", "").split()
    repeat = (
        " (repeatable)" if option.repeatable and not {"repeatable", "several"} & set(words) else ""
    )
    return f"| {cell(names + value)} | {cell(escaped(option.help) + repeat)} |"


def cell(text: str) -> str:
    """Text that does not end a cell. In code MkDocs would show the backslash of an escaped bar."""
    text = re.sub(
        r"`([^`]*\|[^`]*)`",
        lambda code: f"<code>{html.escape(code[1]).replace('|', '&#124;')}</code>",
        text,
    )
    return text.replace("|", "\\|")


def escaped(text: str) -> str:
    """Text in which nothing is taken for HTML, a link or emphasis; `code` stays."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        for character in "<>*_":
            parts[i] = parts[i].replace(character, "\\" + character)
    return "`".join(parts)


def index(root: Command) -> str:
    """The list of commands."""
    rows = [f"| [`{c.title}`]({c.name}.md) | {cell(escaped(c.summary))} |" for c in root.commands]
    return "\n".join(
        [
            NOTE,
            "# Commands",
            "",
            "`edgepose COMMAND --help` prints the same. `posenet` is `edgepose posenet`; "
            "`python -m edgepose` is `edgepose`.",
            "",
            "| command | |",
            "|---|---|",
            *rows,
            "",
            "Exit codes: 0 done, 1 failed, 2 usage, 3 partly done (some inputs failed, the rest is "
            "written), 130 interrupted.",
            "",
        ]
    )


def main() -> int:
    """Write or compare."""
    root = edgepose()
    files = {FOLDER / f"{c.name}.md": page(c) for c in root.commands}
    files[FOLDER / "index.md"] = index(root)
    return write_or_check(files, sys.argv[1:], (FOLDER,))


if __name__ == "__main__":
    sys.exit(main())
