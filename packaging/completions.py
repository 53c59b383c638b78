"""Writes the shell completions of ``spoolctl``: spoolctl.bash, .zsh and .fish into the folder that is named.

They are fixed texts. Typer's own ask the program at each press of the key, and wait half a second for its answer.
"""

# ruff: noqa: INP001 - a program, not a module

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spoolctl.app import app
from typer.main import get_command


class Word(NamedTuple):
    """What can be typed at some place: a command or an option, and what it is for."""

    text: str
    about: str
    takes_value: bool = False


#: What can stand where. A place is the commands before it, each with a blank in front: "", " lanes", " lanes pause".
Places = Mapping[str, list[Word]]


def main() -> None:
    """Write the three files."""
    folder = Path(sys.argv[1])
    places = dict(_walk(get_command(app), ""))
    for shell, write in (("bash", _bash), ("zsh", _zsh), ("fish", _fish)):
        (folder / f"spoolctl.{shell}").write_text(write(places), encoding="utf-8")


def _walk(command: Any, place: str) -> Iterator[tuple[str, list[Word]]]:
    children = getattr(command, "commands", {})
    words = [Word(name, _summary(child.get_short_help_str(100))) for name, child in children.items()]
    for option in command.params:
        if option.param_type_name == "option":
            takes_value = not option.is_flag
            words += [Word(text, _summary(option.help), takes_value) for text in (*option.opts, *option.secondary_opts)]
    yield place, [*words, Word("--help", "Show what there is, and end.")]
    for name, child in children.items():
        yield from _walk(child, f"{place} {name}")


def _summary(text: str | None) -> str:
    # Without what any of the shells would take for more than text.
    return "".join(letter for letter in (text or "").split("\n")[0] if letter not in "'\"\\`$:[]")


def _bash(places: Places) -> str:
    texts = {place: " ".join(word.text for word in words) for place, words in places.items()}
    cases = "\n".join(f'        "{place}") words="{words}" ;;' for place, words in texts.items())
    return f"""# bash completion for spoolctl
_spoolctl() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} place="" words="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$place $word" in
            {_commands(places, "|")}) place="$place $word" ;;
        esac
    done
    case "$place" in
{cases}
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _spoolctl spoolctl
"""


def _zsh(places: Places) -> str:
    found = {place: " ".join(f"'{word.text}:{word.about}'" for word in words) for place, words in places.items()}
    cases = "\n".join(f"    '{place}') found=({words}) ;;" for place, words in found.items())
    return f"""#compdef spoolctl
local place="" word
local -a found
for word in ${{words[2,CURRENT-1]}}; do
    case "$place $word" in
        ({_commands(places, "|")}) place="$place $word" ;;
    esac
done
case "$place" in
{cases}
esac
_describe -o 'spoolctl' found || _files
"""


def _fish(places: Places) -> str:
    lines = [
        f"complete -c spoolctl -n \"__spoolctl_at '{place}'\" {_fish_word(word)} -d '{word.about}'"
        for place, words in places.items()
        for word in words
    ]
    return f"""# fish completion for spoolctl
function __spoolctl_at
    set -l place ''
    for word in (commandline -opc)[2..-1]
        switch "$place $word"
            case {_commands(places, " ")}
                set place "$place $word"
        end
    end
    test "$place" = "$argv[1]"
end
{chr(10).join(lines)}
"""


def _fish_word(word: Word) -> str:
    kind = "-l" if word.text.startswith("--") else "-s" if word.text.startswith("-") else "-f -a"
    return f"{kind} {word.text.lstrip('-')}{' -r' if word.takes_value else ''}"


def _commands(places: Places, separator: str) -> str:
    return separator.join(f'"{place}"' for place in places if place)


if __name__ == "__main__":
    main()
