"""Plugins: whole or not at all, and a stranger's failure is a warning that names it."""

from __future__ import annotations

import importlib
import logging
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, PluginError, UsageError
from pinpoint_harness.features.backbones import find_backbone
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.plugins import registry as plugins
from pinpoint_harness.types import Context, DataLocation

GOOD = """
from pinpoint_harness import MethodInfo, hookimpl

@hookimpl
def pinpoint_register(register):
    register.method("stranger", f"{__name__}:Stranger", MethodInfo(title="A stranger's method"))

class Stranger:
    input = "none"
    answer_version = 1
"""

HEAD = "from pinpoint_harness import MethodInfo, hookimpl\n"
BROKEN = {
    "fails to import": ("raise RuntimeError('no such luck')", "no such luck"),
    "exits on import": ("raise SystemExit(3)", "it calls sys.exit(3)"),
    "leaves on import": ("import sys; sys.exit()", "it calls sys.exit(None)"),
    "raises what is no Exception": ("raise type('Odd', (BaseException,), {})('so')", "Odd: so"),
    "exits in the hook": (
        HEAD + "@hookimpl\ndef pinpoint_register(register): raise SystemExit(0)",
        "fails to register; it calls sys.exit(0)",
    ),
    "has no hook": ("x = 1", "implements no hook"),
    "has an unknown hook": (
        HEAD + "@hookimpl\ndef pinpoint_regster(register): pass",
        "does not fit the hook; unknown hook 'pinpoint_regster'",
    ),
    "has another signature": (
        HEAD + "@hookimpl\ndef pinpoint_register(registry): pass",
        "does not fit the hook",
    ),
    "raises when called": (
        HEAD + "@hookimpl\ndef pinpoint_register(register): raise KeyError('weights')",
        "fails to register; KeyError: 'weights'",
    ),
    "registers nothing": (HEAD + "@hookimpl\ndef pinpoint_register(register): pass", "registers nothing"),
    "takes a taken name": (
        GOOD.replace('"stranger"', '"constant"'),
        "registers method 'constant'; the name is taken by pinpoint_methods",
    ),
    "gives an object as target": (GOOD.replace('f"{__name__}:Stranger"', "object"), "with target <class"),
    "gives a dictionary as info": (
        GOOD.replace('MethodInfo(title="A stranger\'s method")', "{}"),
        "dict as its info",
    ),
    "has a name with a path in it": (
        GOOD.replace('"stranger"', '"../stranger"'),
        "the method name '../stranger'",
    ),
}

Installer = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    """Put a module and its entry point where Python finds them, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def put(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pinpoint]\n{name} = {name}\n")
        importlib.invalidate_caches()

    yield put
    for name in set(sys.modules) - before:
        if name.startswith(("plugin_", "pinpoint_plugin_")):
            del sys.modules[name]


def test_an_installed_plugin_appears_with_its_origin(install: Installer) -> None:
    install("plugin_good", GOOD)
    entry = load_registry().method("stranger")
    assert entry.origin.name == "'plugin_good' (dist-plugin_good 1.0)"
    assert entry.load().answer_version == 1


@pytest.mark.parametrize("case", BROKEN)
def test_an_installed_plugin_that_is_broken_is_one_warning_and_all_others_stay(
    case: str, install: Installer, caplog: pytest.LogCaptureFixture
) -> None:
    source, reason = BROKEN[case]
    install("plugin_broken", source)
    install("plugin_good", GOOD.replace("stranger", "friend"))
    with caplog.at_level(logging.WARNING):
        registry = load_registry()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "'plugin_broken' (dist-plugin_broken 1.0)" in warning
    assert reason in warning
    assert "friend" in registry.methods
    assert "constant" in registry.methods
    assert "stranger" not in registry.methods
    assert [item.origin.name for item in registry.skipped] == ["'plugin_broken' (dist-plugin_broken 1.0)"]


@pytest.mark.parametrize("case", BROKEN)
def test_a_plugin_named_by_the_user_that_is_broken_is_an_error(case: str, tmp_path: Path) -> None:
    source, _ = BROKEN[case]
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(PluginError, match=r"mine\.py"):
        load_registry([str(file)])


LEAVES = "raise SystemExit(0)"
QUITTER = """
from pathlib import Path
import numpy as np
from pinpoint_harness import DatasetInfo, MethodInfo, Predictions, hookimpl

@hookimpl
def pinpoint_register(register):
    register.method("quitter", f"{__name__}:Quitter", MethodInfo(title="It leaves"))
    register.dataset("gone", f"{__name__}:Gone", DatasetInfo(title="It leaves", source="", licence=""))

class Quitter:
    input = "none"
    answer_version = 1

    def __init__(self, params, context):
        pass  # constructor

    def content(self):
        pass  # content
        return {}

    def predict(self, queries):
        pass  # predict
        return Predictions(np.zeros((len(queries), 2)))

class Gone:
    def __init__(self, location):
        pass  # dataset

    def truth(self):
        raise SystemExit(0)
"""


@pytest.mark.parametrize("place", ["constructor", "content", "predict", "dataset", "nowhere"])
def test_a_plugin_that_exits_is_an_error_wherever_it_does(place: str, tmp_path: Path) -> None:
    file = tmp_path / "quitter.py"
    file.write_text(QUITTER.replace(f"pass  # {place}", LEAVES))
    dataset = "gone" if place in ("dataset", "nowhere") else "capitals"
    command = ["--plugin", str(file), "run", "quitter", dataset, "--home", str(tmp_path)]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert "it calls sys.exit(0)" in done.stderr
    assert done.stdout == ""


def test_a_built_in_that_is_broken_is_an_error(install: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    install("plugin_core", BROKEN["raises when called"][0])
    monkeypatch.setattr(plugins, "BUILT_IN", ("plugin_core",))
    with pytest.raises(PluginError, match="plugin_core fails to register"):
        load_registry()


def test_a_plugin_that_fails_halfway_leaves_nothing_behind(tmp_path: Path) -> None:
    halfway = GOOD.replace("class Stranger", "    raise ValueError('later')\n\nclass Stranger")
    file = tmp_path / "half.py"
    file.write_text(halfway)
    registry = load_registry()
    with pytest.raises(PluginError, match="later"):
        registry.add_plugin(*plugins._import_explicit(str(file)))
    assert "stranger" not in registry.methods


def test_a_file_and_a_module_can_be_named_and_the_environment_adds_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(GOOD.replace("stranger", "one"))
    second.write_text(GOOD.replace("stranger", "two"))
    monkeypatch.setenv("PINPOINT_PLUGINS", f"{second},{first}")
    registry = load_registry([str(first)])
    assert {"one", "two"} <= set(registry.methods)
    assert registry.method("one").origin.file_sha256 is not None


def test_installed_plugins_can_be_left_out(install: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    install("plugin_good", GOOD)
    monkeypatch.setenv("PINPOINT_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert "stranger" not in load_registry().methods


@pytest.mark.parametrize("spec", ["nowhere.py", "no_such_module_of_mine"])
def test_a_plugin_that_is_not_there_is_an_error_that_names_it(spec: str) -> None:
    with pytest.raises(PluginError, match=spec.replace(".", r"\.")):
        load_registry([spec])


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no method 'constnat'[\s\S]*constant"):
        load_registry().method("constnat")


def test_a_method_whose_package_is_missing_says_what_to_install(tmp_path: Path) -> None:
    file = tmp_path / "needy.py"
    info = 'MethodInfo(title="t", needs=("pinpoint-geo[giant]",))'
    source = GOOD.replace('MethodInfo(title="A stranger\'s method")', info)
    file.write_text(source.replace('f"{__name__}:Stranger"', '"no_such_package.models:Giant"'))
    entry = load_registry([str(file)]).method("stranger")
    with pytest.raises(PluginError, match=r"install pinpoint-geo\[giant\]"):
        entry.load()


def test_a_plugin_installed_with_pip_runs_and_stands_in_the_table(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        textwrap.dedent("""
        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"
        [project]
        name = "north-pole"
        version = "2.0"
        [project.entry-points.pinpoint]
        north-pole = "north_pole"
        [tool.setuptools]
        py-modules = ["north_pole"]
        """)
    )
    method = GOOD.replace("stranger", "north-pole") + textwrap.indent(
        textwrap.dedent("""
        def __init__(self, params, context):
            pass
        def predict(self, queries):
            import numpy as np
            from pinpoint_harness import Predictions
            return Predictions(np.full((len(queries), 2), (90.0, 0.0)))
        """),
        "    ",
    )
    (project / "north_pole.py").write_text(method)
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(project)], check=True, capture_output=True)
    environment = _environment(site)
    home = str(tmp_path)

    def pinpoint(*words: str) -> str:
        command = [sys.executable, "-c", "from pinpoint_harness.cli.main import main; main()", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert "'north-pole' (north-pole 2.0)" in pinpoint("methods", "list")
    pinpoint("run", "north-pole", "capitals", "--home", home)
    assert "north-pole" in pinpoint("table", "capitals", "--home", home)


def _environment(site: Path) -> dict[str, str]:
    import os

    paths = [str(site), *(path for path in sys.path if path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


RAISING = """
import numpy as np
from pinpoint_harness import MethodInfo, Predictions, hookimpl
from pinpoint_harness.errors import DataError, UsageError

class Own(DataError):
    pass

class Exits(Exception):
    def __str__(self):
        raise SystemExit(3)

class Silent(Exception):
    def __str__(self):
        raise KeyboardInterrupt

class Mute(Exception):
    pass

@hookimpl
def pinpoint_register(register):
    register.method("stranger", f"{__name__}:Stranger", MethodInfo(title="A stranger's method"))

class Stranger:
    input = "none"
    answer_version = 1
    def __init__(self, params, context):
        pass
    def predict(self, queries):
        BODY
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('no luck')", "failed on a tile of 256 queries\n  found: ValueError: no luck"),
        (
            "raise KeyboardInterrupt('mine')",
            "failed on a tile of 256 queries\n  found: KeyboardInterrupt: mine",
        ),
        ("raise Exits", "failed on a tile of 256 queries\n  found: Exits: (it cannot be shown)"),
        ("raise Silent", "failed on a tile of 256 queries\n  found: Silent: (it cannot be shown)"),
        ("raise SystemExit(Exits())", "found: it calls sys.exit(Exits())"),
        ("raise Mute", "failed on a tile of 256 queries\n  found: Mute\n"),
        (
            "raise UsageError('boo', found='a ghost')",
            "failed on a tile of 256 queries: boo\n  found: a ghost\n  fix:   ",
        ),
        ("raise Own('boo', fix='mend it')", "failed on a tile of 256 queries: boo\n  fix:   mend it"),
        ("return 5", "breaks its contract: predict must return Predictions\n  found: int"),
    ],
)
def test_whatever_a_method_raises_names_it_and_its_plugin(body: str, said: str, tmp_path: Path) -> None:
    """As a process, where a KeyboardInterrupt without a signal is told from the user's."""
    (tmp_path / "raises.py").write_text(RAISING.replace("BODY", body))
    words = ["run", "stranger", "capitals", "--plugin", "raises.py", "--home", "home"]
    ended = subprocess.run(
        [sys.executable, "-c", "from pinpoint_harness.cli.main import main; main()", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert f"error: method 'stranger' of raises.py {said.partition('found')[0]}".rstrip() in ended.stderr
    assert said in ended.stderr


@pytest.mark.parametrize(
    "replaced", ["sys.stdout = None", "sys.stdout = sys.stderr = None", "sys.stdout.close()"]
)
def test_a_plugin_that_takes_the_screen_away_gives_it_back(replaced: str, tmp_path: Path) -> None:
    body = f"import sys; {replaced}; return Predictions(np.zeros((len(queries), 2)))"
    (tmp_path / "raises.py").write_text(RAISING.replace("BODY", body))
    words = ["run", "stranger", "capitals", "--plugin", "raises.py", "--home", "home"]
    ended = subprocess.run(
        [sys.executable, "-c", "from pinpoint_harness.cli.main import main; main()", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "\nrun: home/runs/capitals/stranger/" in ended.stdout


OWN_WORDS = """
from pinpoint_harness import BackboneInfo, DatasetInfo, hookimpl
from pinpoint_harness.errors import DataError
from pinpoint_harness.readers import read_answers

@hookimpl
def pinpoint_register(register):
    register.dataset("strange", f"{__name__}:Strange", DatasetInfo(title="t", source="", licence=""))
    register.dataset("reads", f"{__name__}:Reads", DatasetInfo(title="t", source="", licence=""))
    register.backbone("odd", f"{__name__}:odd", BackboneInfo(title="t", width=4))

class Strange:
    def __init__(self, location):
        pass
    def truth(self):
        raise DataError("boo")

class Reads(Strange):
    def truth(self):
        read_answers("nowhere.csv")

def odd(folder, context):
    raise DataError("boo", fix="see to it")
"""


def test_errors_of_the_harness_s_kinds_that_plugins_raise_name_them_too(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_WORDS)
    registry = load_registry([str(tmp_path / "own.py")])
    with pytest.raises(DataError, match=r"^dataset 'strange' of own\.py cannot say its truth: boo$"):
        registry.open_dataset("strange").truth()
    with pytest.raises(DataError, match=r"^backbone 'odd' of own\.py cannot be set up: boo\n  fix:   see"):
        find_backbone(registry, "odd").open(Context())


def test_what_readers_raise_through_a_plugin_and_what_built_ins_raise_stays(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_WORDS)
    registry = load_registry([str(tmp_path / "own.py")])
    with pytest.raises(DataError, match=r"^[^:]*'nowhere\.csv'"):
        registry.open_dataset("reads").truth()
    with pytest.raises(DataError, match=r"^(?!dataset)"):
        registry.open_dataset("im2gps", DataLocation(tmp_path / "nowhere")).truth()


@pytest.mark.parametrize("ignored", [False, True], ids=["", "in the background"])
def test_an_interrupt_within_a_plugin_is_the_users(ignored: bool, tmp_path: Path) -> None:
    body = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    (tmp_path / "raises.py").write_text(RAISING.replace("BODY", body))
    words = ["run", "stranger", "capitals", "--plugin", "raises.py", "--home", "home"]
    ended = subprocess.run(
        [sys.executable, "-c", "from pinpoint_harness.cli.main import main; main()", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )  # fmt: skip
    assert ended.returncode == 130
    assert ended.stderr.startswith("\ninterrupted\n  go on: pinpoint run stranger capitals")


def test_an_interrupt_before_a_command_begins_ends_with_the_code_of_one() -> None:
    code = (
        "import os; from pinpoint_harness.cli import main as it\n"
        "it.renewed = lambda words: os.kill(os.getpid(), 2) or words\n"
        "it.main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "doctor"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.split()) == (130, ["Aborted!"])
