"""The tree of commands: what every command says of itself, what options mean, old spellings."""

from __future__ import annotations

import logging
import shlex
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pinpoint_harness.cli.main import cli
from pinpoint_harness.cli.old_spellings import COMMANDS, OPTIONS, renewed
from pinpoint_harness.home import warn_old

EVERYWHERE = ("--plugin", "--home", "-q", "--quiet", "-v", "--verbose")


Words = tuple[str, ...]


def leaves(command: click.Command, path: Words = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from leaves(below, (*path, name))
    else:
        yield path, command


LEAVES = dict(leaves(cli))


def helps(command: click.Command) -> dict[str, str | None]:
    """What is said of each option, by each of its names."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    return {name: option.help for option in options for name in option.opts}


def pinpoint(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(words), prog_name="pinpoint")
    assert result.exit_code == code, result.output
    return result


def parsed(words: list[str]) -> None:
    """Follow the words down the tree, and parse the options of the command they lead to."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    command.make_context("example", words, resilient_parsing=True)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_command_has_a_sentence_and_examples_that_parse(path: Words) -> None:
    text = LEAVES[path].help or ""
    assert text.partition("\n\n")[0].rstrip().endswith((".", ".\n\n")), text
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith("pinpoint ")]
    assert examples, "no example"
    assert any(example.split()[1 : 1 + len(path)] == list(path) for example in examples)
    for example in examples:
        parsed(shlex.split(example)[1:])


def test_an_option_is_of_one_kind_wherever_it_stands() -> None:
    """A flag is a flag, and what takes a value takes one."""
    kinds: dict[str, dict[tuple[bool, int], list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, command in LEAVES.items():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                for name in option.opts:
                    kinds[name][option.is_flag, option.nargs].append(" ".join(path))
    assert {name: dict(found) for name, found in kinds.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_what_stands_before_a_command_may_stand_after_it(path: Words) -> None:
    own, whole = helps(LEAVES[path]), helps(cli)
    assert {name: own.get(name) for name in EVERYWHERE} == {name: whole[name] for name in EVERYWHERE}
    assert "--json" in own


def test_the_home_and_json_count_on_either_side(tmp_path: Path) -> None:
    home = str(tmp_path / "elsewhere")
    run = ("run", "random-prior", "capitals")
    first = pinpoint(*run, "--home", home, "--quiet").stdout
    assert first == pinpoint("--home", home, "--quiet", *run).stdout
    assert first.startswith(home)
    after = pinpoint("runs", "list", "--json", "--home", home).stdout
    assert after == pinpoint("--home", home, "--json", "runs", "list").stdout
    assert after == pinpoint("runs", "--json", "--home", home, "list").stdout
    assert '"random-prior' in after


def test_a_plugin_may_be_named_behind_the_command(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from pinpoint_harness import MethodInfo, hookimpl\n\n"
        "@hookimpl\ndef pinpoint_register(register):\n"
        "    info = MethodInfo('mine', licence='MIT', training_data='none')\n"
        "    register.method('mine', 'nowhere:Mine', info)\n"
    )
    before = pinpoint("--plugin", str(plugin), "methods", "list").stdout
    assert "mine" in before
    assert before == pinpoint("methods", "list", "--plugin", str(plugin)).stdout


def test_json_of_a_command_that_has_none_is_refused() -> None:
    for words in (["clean", "--json", "--dry-run"], ["--json", "clean", "--dry-run"]):
        assert "`pinpoint clean` prints no JSON" in pinpoint(*words, code=2).stderr


def test_old_spellings_work_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    warn_old.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert renewed(["-v", "--home", "here", "results", "rm"]) == ["-v", "--home", "here", "runs", "rm"]
        assert renewed(["results", "plot", "x", "--kind=map"]) == ["plot", "x", "--kind=map"]
        assert renewed(["store", "import", "d", "--limit=3"]) == ["stores", "import", "d", "--sample=3"]
        assert renewed(["clean", "--runs", "--yes"]) == ["clean", "runs", "--yes"]
    assert "`pinpoint results` is the old way and will go: use `pinpoint runs`" in caplog.text
    assert renewed(["table", "store", "--compare"]) == ["table", "store", "--compare"]
    assert pinpoint("results", "list").exit_code == 0


def test_old_spellings_lead_to_what_there_is() -> None:
    for new in COMMANDS.values():
        assert any(path[: len(new)] == new for path in LEAVES)
    for path, options in OPTIONS.items():
        known = {name for option in LEAVES[path].params for name in option.opts}
        assert all(name in known for name in options.values() if name.startswith("-"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [("pinpoint ru", "plain,run\nplain,runs\n"), ("pinpoint runs expl", "plain,explain\n")],
)
def test_a_shell_completes_commands(words: str, expected: str) -> None:
    *_, last = parts = words.split()
    shell = {"_PINPOINT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1)}
    assert CliRunner().invoke(cli, [], prog_name="pinpoint", env=shell).stdout == expected, last
