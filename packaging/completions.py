"""Writes the shell completions of ``spoolctl``: spoolctl.bash, .zsh and .fish into the folder that is named.

They are fixed texts, but for the names of the lanes: ``spoolctl`` takes half a second to start, so it is asked only
where a lane is to be named, and its answer is kept for a minute.
"""

# ruff: noqa: INP001 - a program, not a module

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, get_args

from spoolctl.app import app
from typer.main import get_command

#: What a value can be, beside one of some fixed words: one that nobody can guess, a file, a folder, a lane's name.
_TEXT, _FILE, _FOLDER, _LANE = "text", "file", "folder", "lane"


class Word(NamedTuple):
    """A command or an option, and what it is for.

    Attributes:
        value: What stands behind the option: one of the above, or the words to choose from; empty where nothing does.
    """

    text: str
    about: str
    value: str = ""


class Place(NamedTuple):
    """What can stand behind some commands."""

    commands: list[Word]
    options: list[Word]
    argument: str


#: By the commands before it, each with a blank in front: "", " lanes", " lanes pause".
Places = Mapping[str, Place]


def main() -> None:
    """Write the three files."""
    folder = Path(sys.argv[1])
    places = dict(_walk(get_command(app), ""))
    for shell, write in (("bash", _bash), ("zsh", _zsh), ("fish", _fish)):
        (folder / f"spoolctl.{shell}").write_text(write(places), encoding="utf-8")


def _walk(command: Any, place: str) -> Iterator[tuple[str, Place]]:
    children = getattr(command, "commands", {})
    commands = [Word(name, child.get_short_help_str(100)) for name, child in children.items()]
    options = [Word("--help", "Show what there is, and end.")]
    argument = ""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            argument = argument or _value(parameter)
            continue
        value = "" if parameter.is_flag else _value(parameter)
        names = (*parameter.opts, *parameter.secondary_opts)
        options += [Word(text, parameter.help or "", value) for text in names]
    yield place, Place(commands, options, argument)
    for name, child in children.items():
        yield from _walk(child, f"{place} {name}")


def _value(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    # A list where the option is repeatable.
    (kind,) = get_args(annotation) or (annotation,)
    if issubclass(kind, StrEnum):
        return " ".join(kind)
    if (parameter.metavar or "").strip("[]") == "LANE":
        return _LANE
    if issubclass(kind, Path):
        return _FOLDER if parameter.metavar == "DIR" else _FILE
    return _TEXT


def _bash(places: Places) -> str:
    cases = "\n".join(
        f'        "{name}") argument="{place.argument}" commands="{_texts(place.commands)}"'
        f' options="{_texts(place.options)}" ;;'
        for name, place in places.items()
    )
    return f"""# bash completion for spoolctl
_spoolctl_lanes() {{
    if [[ -z ${{_spoolctl_names-}} || $* != "$_spoolctl_asked" ]] || ((SECONDS - _spoolctl_at >= 60)); then
        _spoolctl_names=$({_ASK_LANES.format(target='"$@"')})
        _spoolctl_asked=$* _spoolctl_at=$SECONDS
    fi
}}
_spoolctl() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} place="" awaits="" argument="" commands="" options="" option word
    local -a target=()
    # Readline makes three words of --lane=NAME.
    [[ $current != = ]] || current=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        if [[ $word == = ]]; then
            continue
        elif [[ $awaits ]]; then
            case "$option" in --socket | --spool) target+=("$option" "$word") ;; esac
            awaits=""
            continue
        fi
        case "$place $word" in
            {_commands(places, " | ")}) place="$place $word" ;;
{_awaits(places, '            "{at}") option=$word awaits="{value}" ;;', '" | "')}
        esac
    done
    case "$place" in
{cases}
    esac
    if [[ -z $awaits && $current == -* ]] || [[ -z $awaits$commands$argument ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    case "${{awaits:-$argument}}" in
        {_TEXT}) COMPREPLY=() ;;
        {_FILE})
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            ;;
        {_FOLDER})
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            ;;
        {_LANE})
            _spoolctl_lanes "${{target[@]}}"
            mapfile -t COMPREPLY < <(compgen -W "$_spoolctl_names" -- "$current")
            ;;
        *) mapfile -t COMPREPLY < <(compgen -W "${{awaits:-$argument}} $commands" -- "$current") ;;
    esac
}}
complete -F _spoolctl spoolctl
"""


def _zsh(places: Places) -> str:
    cases = "\n".join(
        f"    '{name}') argument='{place.argument}' commands=({_described(place.commands)})"
        f" options=({_described(place.options)}) ;;"
        for name, place in places.items()
    )
    return f"""#compdef spoolctl
_spoolctl_lanes() {{
    if [[ -z $_spoolctl_names || "$*" != "$_spoolctl_asked" ]] || ((SECONDS - _spoolctl_at >= 60)); then
        typeset -g _spoolctl_names=$({_ASK_LANES.format(target='"$@"')})
        typeset -g _spoolctl_asked="$*" _spoolctl_at=$SECONDS
    fi
}}
local place="" awaits="" argument="" option word
local -a target commands options
for word in ${{words[2,CURRENT-1]}}; do
    if [[ -n $awaits ]]; then
        case $option in (--socket | --spool) target+=($option $word) ;; esac
        awaits=""
        continue
    fi
    case "$place $word" in
        ({_commands(places, " | ")}) place="$place $word" ;;
{_awaits(places, '        ("{at}") option=$word awaits="{value}" ;;', '" | "')}
        (" --socket="* | " --spool="*) target+=($word) ;;
    esac
done
if [[ -z $awaits && $PREFIX == --*=* ]]; then
    case "$place ${{PREFIX%%=*}}" in
{_awaits(places, '        ("{at}") awaits="{value}" ;;', '" | "')}
    esac
    compset -P '*='
fi
case "$place" in
{cases}
esac
if [[ -z $awaits && $PREFIX == -* ]] || [[ -z $awaits$argument && -z $commands ]]; then
    _describe -o option options
    return
fi
case "${{awaits:-$argument}}" in
    {_TEXT}) ;;
    {_FILE}) _files ;;
    {_FOLDER}) _files -/ ;;
    {_LANE}) _spoolctl_lanes $target && compadd -- ${{=_spoolctl_names}} ;;
    ?*) compadd -- ${{=awaits:-$argument}} ;;
    *) _describe command commands ;;
esac
"""


def _fish(places: Places) -> str:
    lines = [line for name, place in places.items() for line in _fish_lines(name, place)]
    return f"""# fish completion for spoolctl
function __spoolctl_walk
    set -g __spoolctl_place ''
    set -g __spoolctl_target
    set -l option ''
    for word in (commandline -opc)[2..-1]
        if test -n "$option"
            contains -- $option --socket --spool; and set -a __spoolctl_target $option $word
            set option ''
            continue
        end
        switch "$__spoolctl_place $word"
            case {_commands(places, " ")}
                set __spoolctl_place "$__spoolctl_place $word"
{_awaits(places, '            case "{at}"', '" "', is_alike=True)}
                set option $word
            case ' --socket=*' ' --spool=*'
                set -a __spoolctl_target $word
        end
    end
end
function __spoolctl_at
    __spoolctl_walk
    test "$__spoolctl_place" = "$argv[1]"
end
function __spoolctl_lanes
    __spoolctl_walk
    set -l now (date +%s)
    if test -z "$__spoolctl_names" -o "$__spoolctl_target" != "$__spoolctl_asked"; or test $now -ge $__spoolctl_until
        set -g __spoolctl_names ({_ASK_LANES.format(target="$__spoolctl_target")})
        set -g __spoolctl_asked $__spoolctl_target
        set -g __spoolctl_until (math $now + 60)
    end
    printf '%s\\n' $__spoolctl_names
end
complete -c spoolctl -f
{chr(10).join(lines)}
"""


#: A shell must not wait for a daemon that hangs.
_ASK_LANES = (
    """timeout 5 spoolctl {target} lanes list --json 2>/dev/null | sed -n 's/^{{"name": "\\([^"]*\\)".*/\\1/p'"""
)

#: What fish offers for a value.
_FISH_VALUES = {
    _TEXT: "-x",
    _FILE: "-r -F",
    _FOLDER: "-x -a '(__fish_complete_directories (commandline -ct))'",
    _LANE: "-x -a '(__spoolctl_lanes)'",
}


def _fish_lines(name: str, place: Place) -> Iterator[str]:
    at = f"complete -c spoolctl -n \"__spoolctl_at '{name}'\""
    for word in place.commands:
        yield f"{at} -f -a {word.text} -d {_fish_quoted(word.about)}"
    for word in place.options:
        kind = "-l" if word.text.startswith("--") else "-s"
        value = f" {_fish_value(word.value)}" if word.value else ""
        yield f"{at} {kind} {word.text.lstrip('-')}{value} -d {_fish_quoted(word.about)}"
    if place.argument:
        yield f"{at} {_fish_value(place.argument)}"


def _fish_value(value: str) -> str:
    return _FISH_VALUES.get(value) or f"-x -a '{value}'"


def _fish_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _awaits(places: Places, line: str, separator: str, *, is_alike: bool = False) -> str:
    """A line for each kind of value with the options that it stands behind, or one line for all."""
    options: dict[str, list[str]] = {}
    for name, place in places.items():
        for word in place.options:
            if word.value:
                options.setdefault("" if is_alike else word.value, []).append(f"{name} {word.text}")
    return "\n".join(line.format(at=separator.join(at), value=value) for value, at in options.items())


def _described(words: Iterable[Word]) -> str:
    return " ".join(shlex.quote(f"{word.text}:{word.about}") for word in words)


def _texts(words: Iterable[Word]) -> str:
    return " ".join(word.text for word in words)


def _commands(places: Places, separator: str) -> str:
    return separator.join(f'"{place}"' for place in places if place)


if __name__ == "__main__":
    main()
