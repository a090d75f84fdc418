"""Archives that were listed before are not listed again, unless they changed."""

from __future__ import annotations

import os
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from pinpoint_harness.images import ImageStore, PassingTroubleError
from pinpoint_harness.images.containers import listed, store
from pinpoint_harness.images.containers.listed import ListedArchives


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The archives that were listed, by their names; nothing is remembered from other tests."""
    found: list[str] = []

    def counted(kind: type) -> type:
        class Counted(kind):  # type: ignore[misc]
            def __init__(self, *given: object) -> None:
                super().__init__(*given)
                found.append(self.label)

        return Counted

    monkeypatch.setattr(store, "listed_archives", ListedArchives(most=8))
    monkeypatch.setattr(listed, "QUIET_SECONDS", -60.0)
    monkeypatch.setattr(store, "ZipContainer", counted(store.ZipContainer))
    monkeypatch.setattr(store, "TarContainer", counted(store.TarContainer))
    return found


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, BytesIO(data))
    return path


def contents(*paths: Path) -> tuple[dict[str, object], list[str]]:
    """Every picture's bytes, and what was left out."""
    with ImageStore.open(paths) as images:
        there = images.everything()
        read = {name: images.read(ref) for name, ref in zip(there["image"], there["ref"], strict=True)}
        return read, [str(one) for one in images.skipped]


@pytest.mark.parametrize("write", [write_zip, write_tar], ids=["zip", "tar"])
def test_an_archive_is_listed_once_and_tells_the_same_again(tmp_path: Path, made: list[str], write) -> None:
    path = write(tmp_path / "photos.arch", {"a.jpg": b"a", "../out.jpg": b"b", "c.jpg": b"c"})
    first = contents(path)
    assert first[0] == {"a.jpg": b"a", "c.jpg": b"c"}
    assert "out.jpg" in first[1][0]
    assert contents(path) == first == contents(path)
    assert made == ["photos.arch"]


def test_a_changed_archive_is_listed_again(tmp_path: Path, made: list[str]) -> None:
    path = write_zip(tmp_path / "photos.zip", {"a.jpg": b"a"})
    assert contents(path)[0] == {"a.jpg": b"a"}
    before = path.stat()
    write_zip(tmp_path / "other.zip", {"b.jpg": b"b"}).replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as old and as large as the one before
    assert path.stat().st_size == before.st_size
    assert contents(path)[0] == {"b.jpg": b"b"}
    assert made == ["photos.zip"] * 2


def test_the_same_file_under_another_name_tells_its_own_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", {"a.jpg": b"a", "/b.jpg": b"b"})
    (tmp_path / "more").mkdir()
    os.link(path, tmp_path / "more" / "again.zip")
    assert contents(path)[1][0].startswith("photos.zip: ")
    assert contents(tmp_path / "more")[1][0].startswith("again.zip: ")


def test_the_oldest_are_forgotten_beyond_so_many_members(tmp_path: Path, made: list[str]) -> None:
    paths = [write_zip(tmp_path / f"{n}.zip", {f"{n}{m}.jpg": b"x" for m in range(2)}) for n in range(3)]
    for path in paths:
        contents(path)
    contents(paths[1])
    contents(paths[0])
    assert made == ["0.zip", "1.zip", "2.zip", "0.zip"]
    large = write_zip(tmp_path / "large.zip", {f"{m}.jpg": b"x" for m in range(8)})
    assert len(contents(large)[0]) == len(contents(large)[0]) == 8
    assert made[4:] == ["large.zip", "large.zip"]


def test_an_archive_that_is_exchanged_while_it_is_listed_is_not_remembered(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "photos.zip", {"a.jpg": b"a"})
    states = iter([(1,), (2,), (1,), (1,)])
    monkeypatch.setattr(listed, "_state", lambda path: next(states))
    contents(path)
    contents(path)
    assert made == ["photos.zip"] * 2


def test_an_archive_that_may_still_be_changing_is_not_remembered(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listed, "QUIET_SECONDS", 2.0)
    path = write_zip(tmp_path / "photos.zip", {"a.jpg": b"a"})
    os.utime(path, (0, 0))  # its content is old; the file was changed just now
    contents(path)
    contents(path)
    assert made == ["photos.zip"] * 2
    now = listed.time.time()
    monkeypatch.setattr(listed.time, "time", lambda: now + 3)
    contents(path)
    contents(path)
    assert made == ["photos.zip"] * 3


def test_archives_without_a_picture_are_forgotten_as_well(tmp_path: Path) -> None:
    remembered = store.listed_archives
    for number in range(20):
        contents(write_zip(tmp_path / f"{number}.zip", {"notes.txt": b"x"}))
    assert len(remembered._kept) == 8


def test_what_was_found_before_must_still_be_there(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", {"a.jpg": b"a"})
    assert contents(path)[0]
    path.write_bytes(b"no archive at all")
    read, notes = contents(path)
    assert not read
    assert "neither zip nor tar" in notes[0]
    with ImageStore.open([tmp_path]) as images:
        assert (images.find(pd.Series(["a.jpg"])) == -1).all()


A, B, C = (b"\xff\xd8\xff" + letter * 50 for letter in (b"A", b"B", b"C"))


@pytest.fixture
def two_versions(tmp_path: Path) -> tuple[Path, Path]:
    """Archives of one name, one size and one age, in folders of their own."""
    found = []
    for version, data in (("v1", {"a.jpg": A, "b.jpg": B}), ("v2", {"a.jpg": C, "b.jpg": A})):
        (tmp_path / version).mkdir()
        for path in (
            write_tar(tmp_path / version / "x.tar", data),
            write_zip(tmp_path / version / "x.zip", data),
        ):
            os.utime(path, ns=(10**18, 10**18))
        found.append(tmp_path / version)
    return found[0], found[1]


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
def test_a_link_that_leads_elsewhere_later_does_not_lead_what_it_was_listed_by(
    tmp_path: Path, two_versions: tuple[Path, Path], name: str
) -> None:
    first, second = two_versions
    link = tmp_path / "current"
    link.symlink_to(first)
    assert contents(link / name)[0] == {"a.jpg": A, "b.jpg": B}
    link.unlink()
    link.symlink_to(second)
    assert contents(first / name)[0] == {"a.jpg": A, "b.jpg": B}
    assert contents(link / name)[0] == {"a.jpg": C, "b.jpg": A}
    link.unlink()
    assert contents(second / name)[0] == {"a.jpg": C, "b.jpg": A}
    (tmp_path / "one").symlink_to(first / name)
    assert contents(tmp_path / "one")[0] == {"a.jpg": A, "b.jpg": B}
    (tmp_path / "one").unlink()
    assert contents(first / name)[0] == {"a.jpg": A, "b.jpg": B}


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
def test_a_relative_path_is_that_of_the_folder_it_was_given_in(
    two_versions: tuple[Path, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two_versions
    monkeypatch.chdir(first)
    assert contents(Path(name))[0] == {"a.jpg": A, "b.jpg": B}
    monkeypatch.chdir(second)
    assert contents(first / name)[0] == {"a.jpg": A, "b.jpg": B}
    assert contents(Path(name))[0] == {"a.jpg": C, "b.jpg": A}
    monkeypatch.chdir("/")
    assert contents(first / name)[0] == {"a.jpg": A, "b.jpg": B}


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
def test_an_archive_exchanged_for_one_as_large_and_as_old_is_noticed(
    two_versions: tuple[Path, Path], name: str
) -> None:
    first, second = two_versions
    with ImageStore.open([first / name]) as images:
        there = images.everything()
        assert images.read(int(there["ref"][0])) == A
        (second / name).replace(first / name)
        with pytest.raises(PassingTroubleError, match="changed"):
            images.read(int(there["ref"][0]))
