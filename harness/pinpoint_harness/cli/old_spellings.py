"""What commands and options were called before; they work for one more release, and say so."""

from __future__ import annotations

from collections.abc import Sequence

from ..home import warn_old

COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("results", "plot"): ("plot",),
    ("results",): ("runs",),
    ("store",): ("stores",),
}
OPTIONS: dict[tuple[str, ...], dict[str, str]] = {
    ("stores", "import"): {"--compare": "--check", "--limit": "--sample"},
    ("compare",): {"--published": "--beside"},
    ("clean",): {f"--{name}": name for name in ("runs", "stores", "models", "audits", "caches")},
}
_WITH_VALUE = ("--home", "--plugin", "--made")


def renewed(words: Sequence[str]) -> list[str]:
    """The words behind `pinpoint` in today's spelling; each old one is said once."""
    start = _command_at(words)
    before, after = list(words[:start]), list(words[start:])
    for old, new in COMMANDS.items():
        if tuple(after[: len(old)]) == old:
            warn_old(f"`pinpoint {' '.join(old)}`", f"`pinpoint {' '.join(new)}`")
            after[: len(old)] = new
            break
    for command, options in OPTIONS.items():
        if tuple(after[: len(command)]) == command:
            after = [_renewed_option(word, options) for word in after]
    return before + after


def _command_at(words: Sequence[str]) -> int:
    """Where the command stands, behind the options that every command takes."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _WITH_VALUE else 1
    return at


def _renewed_option(word: str, options: dict[str, str]) -> str:
    name, equals, value = word.partition("=")
    if name not in options:
        return word
    warn_old(f"`{name}`", f"`{options[name]}`")
    return options[name] + equals + value
