"""Write man/*.1 from the command line's own help. `--check` only compares.

usage: python tools/make_man_pages.py [--check]     view: man man/posenet.1
"""

from __future__ import annotations

import re
import sys

from cli_tree import ROOT, Command, Option, edgepose, posenet, write_or_check

FOLDER = ROOT / "man"
EXIT_CODES = (
    ("0", "done"),
    ("1", "failed"),
    ("2", "usage: an option or a name that cannot be meant"),
    ("3", "partly done: some inputs failed, the rest is written"),
    ("130", "interrupted; what was written is valid"),
)
ENVIRONMENT = (
    ("EDGEPOSE_HOME", "folder of networks and state"),
    ("EDGEPOSE_CACHE", "folder of engines, kernels and partial downloads"),
    ("EDGEPOSE_CONFIG", "configuration file instead of the usual ones"),
    ("EDGEPOSE_<OPTION>", "default of an option of posenet, EDGEPOSE_<COMMAND>_<OPTION> of others"),
    ("NO_COLOR", "no colours, if set to anything"),
)


def roff(text: str) -> str:
    """Text that troff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def page(root: Command) -> str:
    """One manual page with all commands below."""
    out = [
        '.\\" written by tools/make_man_pages.py from the command line',
        f'.TH {root.name.upper()} 1 "" "edgepose" "User Commands"',
        ".SH NAME",
        f"{root.name} \\- {roff(root.summary[0].lower() + root.summary[1:])}",
        ".SH SYNOPSIS",
    ]
    for command in root.walk():
        if not command.commands:
            out += [
                f".B {roff(command.title)}",
                roff(command.usage.removeprefix(command.title)).strip(),
                ".br",
            ]
    out.append(".SH DESCRIPTION")
    out += described(root)
    for command in root.commands:
        for part in command.walk():
            out.append(f".SH {roff(part.title.removeprefix(root.name + ' ').upper())}")
            out += described(part)
    out += listed("EXIT STATUS", EXIT_CODES)
    out += listed("ENVIRONMENT", ENVIRONMENT)
    out += listed(
        "FILES", (("./edgepose.toml", "defaults; after it the user's own edgepose.toml"),)
    )
    other = "edgepose" if root.name == "posenet" else "posenet"
    out += [".SH SEE ALSO", f".BR {other} (1)"]
    return "\n".join(out) + "\n"


def described(command: Command) -> list[str]:
    """Description and options."""
    out: list[str] = []
    for code, text in command.paragraphs():
        out += [".PP", ".nf", ".RS", roff(text), ".RE", ".fi"] if code else [".PP", roff(text)]
    for title, options in command.panels().items():
        if title != "Options":
            out += [f".SS {roff(title)}"]
        for option in options:
            out += entry(option)
    return out


def entry(option: Option) -> list[str]:
    """One option."""
    names = ", ".join(f"\\fB{roff(name)}\\fR" for name in (*option.names, *option.off))
    value = f" \\fI{roff(option.value)}\\fR" if option.value else ""
    return [".TP", names + value, roff(option.help)]


def listed(title: str, rows: tuple[tuple[str, str], ...]) -> list[str]:
    """A section of names and what they mean."""
    out = [f".SH {title}"]
    for name, text in rows:
        out += [".TP", f"\\fB{roff(name)}\\fR", roff(text)]
    return out


def main() -> int:
    """Write or compare."""
    files = {FOLDER / f"{root.name}.1": page(root) for root in (edgepose(), posenet())}
    return write_or_check(files, sys.argv[1:], (FOLDER,))


if __name__ == "__main__":
    sys.exit(main())
