"""Write completions/: static completion for bash, zsh and fish, which start no program at a press of Tab.

usage: python tools/make_completions.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from cli_tree import ROOT, Command, Option, edgepose, posenet, write_or_check

FOLDER = ROOT / "completions"
NOTE = "# written by tools/make_completions.py from the command line"


def values() -> dict[str, tuple[str, ...]]:
    """Words that may stand behind an option."""
    from edgepose.draw.overlay import WORDS
    from edgepose.engines.options import PRECISIONS
    from edgepose.engines.table import NAMES
    from edgepose.io.pixels import FLIPS
    from edgepose.networks import registry

    return {
        "--network": tuple(sorted(registry.names())),
        "--detector": tuple(sorted(m.name for m in registry.manifests() if m.family == "detector")),
        "--engine": NAMES,
        "--precision": PRECISIONS,
        "--overlay": tuple(sorted(WORDS)),
        "--input-flip": tuple(FLIPS),
        "--resize": ("stretch", "letterbox"),
        "--log-level": ("silent", "error", "warning", "info", "verbose", "debug"),
        "--rtsp-transport": ("tcp", "udp"),
        "--format": ("json", "csv", "dict"),
        "--event": ("enter", "exit", "cross"),
    }


VALUES = values()


def words_of(option: Option) -> tuple[str, ...]:
    """What may stand behind it, () where anything may."""
    if option.kind == "switch":
        return ()
    return next((VALUES[name] for name in option.names if name in VALUES), ())


def names_of(option: Option) -> list[str]:
    """All spellings."""
    return [*option.names, *option.off]


# bash ---------------------------------------------------------------------------------------------
def bash(root: Command) -> str:
    """A function that looks at the words before the cursor."""
    function = f"_{root.name}"
    cases = "\n".join(_bash_case(c, root) for c in root.walk())
    by_words: dict[str, list[str]] = {}
    plain: list[str] = []
    for command in root.walk():
        for option in command.options:
            if option.kind == "switch":
                continue
            words = " ".join(words_of(option))
            (by_words.setdefault(words, []) if words else plain).extend(names_of(option))
    choices = "\n".join(
        f"    {'|'.join(dict.fromkeys(names))}) "
        f'COMPREPLY=($(compgen -W "{words}" -- "$current")); return ;;'
        for words, names in by_words.items()
    )
    with_words = {name for names in by_words.values() for name in names}
    files = "|".join(dict.fromkeys(name for name in plain if name not in with_words))
    return f"""{NOTE}
# Source it, or put it into /usr/share/bash-completion/completions/{root.name}
{function}() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="{root.name}"
    local options="" commands="" word at
    COMPREPLY=()
    # bash splits --name=value at the sign
    if [[ $current == "=" ]]; then current=""; fi
    if [[ $previous == "=" ]]; then previous="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        word="${{COMP_WORDS[at]}}"
        case "$command $word" in
{_bash_steps(root)}
        esac
    done
    case "$previous" in
{choices}
    {files}) COMPREPLY=($(compgen -f -- "$current")); return ;;
    esac
    case "$command" in
{cases}
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$options --help" -- "$current"))
    elif [[ -n $commands ]]; then
        COMPREPLY=($(compgen -W "$commands" -- "$current"))
    else
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}}
complete -o filenames -o bashdefault -F {function} {root.name}
"""


def _bash_steps(root: Command) -> str:
    steps = [c.title for c in root.walk() if c is not root] or ["-"]
    return f'            {"|".join(_quoted(s) for s in steps)}) command="$command $word" ;;'


def _bash_case(command: Command, root: Command) -> str:
    options = " ".join(name for option in command.options for name in names_of(option))
    below = " ".join(c.name for c in command.commands)
    return f'    "{command.title}") options="{options}" commands="{below}" ;;'


def _quoted(text: str) -> str:
    return f'"{text}"'


# zsh ----------------------------------------------------------------------------------------------
def zsh(root: Command) -> str:
    """`_arguments` of every command, one function each."""
    functions = "\n".join(_zsh_function(c) for c in root.walk())
    return f"""#compdef {root.name}
{NOTE}
# Put it into a folder of $fpath as _{root.name}
{functions}
_{root.name} "$@"
"""


def _zsh_function(command: Command) -> str:
    name = "_" + "_".join(command.path)
    lines = [_zsh_option(option) for option in command.options]
    lines.append("'(-h --help)'{-h,--help}'[help]'")
    if not command.commands:
        body = " \\\n        ".join([*lines, "'*:file:_files'"])
        return f"{name}() {{\n    _arguments -s \\\n        {body}\n}}"
    listed = "\n".join(f"        {_single(f'{c.name}:{c.summary}')}" for c in command.commands)
    cases = "\n".join(f"        {c.name}) _{'_'.join(c.path)} ;;" for c in command.commands)
    body = " \\\n        ".join([*lines, "'1: :->command'", "'*:: :->rest'"])
    return f"""{name}() {{
    local state line
    local -a commands
    commands=(
{listed}
    )
    _arguments -C \\
        {body}
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
{cases}
        esac ;;
    esac
}}"""


def _zsh_option(option: Option) -> str:
    text = option.help.replace("\\", "").replace("[", "(").replace("]", ")").replace(":", "\\:")
    names = names_of(option)
    value = ""
    if option.kind != "switch":
        words = words_of(option)
        action = f"({' '.join(words)})" if words else "_files" if option.kind == "path" else " "
        value = f":{option.value.replace(':', ' ')}:{action}"
    head = "'*'" if option.repeatable else f"'({' '.join(names)})'" if len(names) > 1 else ""
    if option.kind != "switch":  # both --name value and --name=value
        names = [name + ("=" if name.startswith("--") else "+") for name in names]
    spelled = "{" + ",".join(names) + "}" if len(names) > 1 else f"'{names[0]}'"
    return f"{head}{spelled}{_single(f'[{text}]{value}')}"


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# fish ---------------------------------------------------------------------------------------------
def fish(root: Command) -> str:
    """One `complete` line an option, with the condition under which it counts."""
    lines = [NOTE, f"# Put it into ~/.config/fish/completions/{root.name}.fish"]
    for command in root.walk():
        lines += _fish_lines(command, root)
    return "\n".join(lines) + "\n"


def _fish_lines(command: Command, root: Command) -> Iterator[str]:
    seen = " ".join(f"; and __fish_seen_subcommand_from {word}" for word in command.path[1:])
    condition = seen.removeprefix("; and ")
    if command.commands:
        others = " ".join(c.name for c in command.commands)
        not_yet = f"not __fish_seen_subcommand_from {others}"
        condition = f"{condition}; and {not_yet}" if condition else not_yet
        for c in command.commands:
            yield f"complete -c {root.name} -f -n {_fish(condition)} -a {c.name} -d {_fish(c.summary)}"
    when = f" -n {_fish(condition)}" if condition else ""
    for option in command.options:
        yield f"complete -c {root.name}{when}{_fish_option(option)} -d {_fish(option.help)}"


def _fish_option(option: Option) -> str:
    spelled = "".join(
        f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
        for name in names_of(option)
    )
    if option.kind == "switch":
        return spelled
    words = words_of(option)
    if words:
        return f"{spelled} -x -a {_fish(' '.join(words))}"
    return f"{spelled} {'-r -F' if option.kind == 'path' else '-r'}"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main() -> int:
    """Write or compare."""
    makers = {"bash": bash, "zsh": zsh, "fish": fish}
    files = {
        FOLDER / f"{root.name}.{shell}": make(root)
        for root in (edgepose(), posenet())
        for shell, make in makers.items()
    }
    return write_or_check(files, sys.argv[1:], (FOLDER,))


if __name__ == "__main__":
    sys.exit(main())
