"""The `edgepose` command: a table of commands, each loaded when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgepose.cli.commands import COMMANDS, GROUPS, Command
from edgepose.cli.common import answer, defaults_of, leave
from edgepose.cli.help import command_help, commands_of, group_help
from edgepose.errors import EXIT_DONE, EXIT_USAGE, UsageError, nearest
from edgepose.flags import normalise_flags
from edgepose.options import fields_of, names_with_values, parse_words

HELP = {"-h", "--help"}


def main() -> None:
    """Entry point of `edgepose` and `python -m edgepose`."""
    leave(run_words(sys.argv[1:]))


def run_words(words: Sequence[str]) -> int:
    """What `edgepose WORDS` does; its exit code."""
    return answer(_dispatch, words)


def run_posenet(words: Sequence[str]) -> int:
    """What `posenet WORDS` does.

    Raises:
        EdgeposeError: as the command does.
    """
    return _run_command(COMMANDS[0], words, "posenet")


def find_command(words: Sequence[str]) -> Command | None:
    """The command that the first words name; None where they name a group, or nothing."""
    named = {c.path: c for c in COMMANDS}
    own = named.get(" ".join(words[:1]))
    if own and own.path in GROUPS and not _takes_words(own) and words[1:2] and words[1][:1] != "-":
        own = (
            None  # a group's own work has no words, so that the second is meant for a command of it
        )
    return named.get(" ".join(words[:2])) or own


def _takes_words(command: Command) -> bool:
    return any(field.option.argument for field in fields_of(command.options))


def _dispatch(words: Sequence[str]) -> int:
    command = find_command(words)
    group = words[0] if words and words[0] in GROUPS else ""
    rest = words[1:] if group else words
    if (command is None or command.path == group) and HELP.intersection(normalise_flags(rest[:1])):
        print(group_help(group))
        return EXIT_DONE
    if command is not None:
        return _run_command(
            command, words[command.path.count(" ") + 1 :], f"edgepose {command.path}"
        )
    if not rest:
        print(group_help(group), file=sys.stderr)
        return EXIT_USAGE
    name = f"edgepose {group}".strip()
    if rest[0].startswith("-"):
        raise UsageError(f"No such option: {rest[0]}. See {name} --help.")
    near = nearest(rest[0], commands_of(group))
    advice = f" Did you mean {near!r}?" if near else ""
    raise UsageError(f"No such command {rest[0]!r}.{advice} See {name} --help.")


def _run_command(command: Command, words: Sequence[str], name: str) -> int:
    """Words to one value of the command's options, which its work gets."""
    options = command.options
    words = normalise_flags(words, names_with_values(fields_of(options)))
    if HELP.intersection(words[: words.index("--")] if "--" in words else words):
        print(command_help(options, name))
        return EXIT_DONE
    asked: object = parse_words(options, words, name, lambda given: defaults_of(command, given))
    return command.function(asked) or EXIT_DONE
