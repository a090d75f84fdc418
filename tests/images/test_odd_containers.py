"""Links and archives as the hub's cache, Windows, Macs and careless hands leave them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import logging
import lzma
import os
import stat
import struct
import tarfile
import time
import tracemalloc
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.support.photo_files import encode, photo

from pinpoint_datasets.flickr import AnyTable
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError
from pinpoint_harness.images.containers import Failure, ImageStore, find_any, parquet, tar
from pinpoint_harness.types import DataLocation


def contents(*names: str) -> dict[str, bytes]:
    return {name: f"the bytes of {name}".encode("utf-8", "surrogateescape") * 3 for name in names}


def read_all(
    roots: Sequence[Path], names: Sequence[str], **options: Any
) -> tuple[list[bytes | str], list[str]]:
    """The bytes of each name or why there are none, and what was left out."""
    with ImageStore.open(roots, **options) as store:
        refs = store.find(pd.Series(list(names), dtype="str"))
        results = [store.read(ref) for ref in refs]
        shown = [one.status if isinstance(one, Failure) else one for one in results]
        return shown, [str(entry) for entry in store.skipped]


def listed(root: Path, **options: Any) -> list[str]:
    with ImageStore.open([root], **options) as store:
        return sorted(store.everything()["image"])


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def tar_of(files: Mapping[str, bytes], members: Sequence[tarfile.TarInfo] = (), end: bool = True) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
        size = archive.offset
    return stream.getvalue() if end else stream.getvalue()[:size]


def link(name: str, target: str, kind: bytes = tarfile.LNKTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


# Links: the cache of Hugging Face.


def hub_cache(folder: Path, revision: str = "abc123", as_text: bool = False) -> Path:
    """A repository as `hf download` leaves it: photos and an archive are links into `blobs`; its snapshot."""
    repository = folder / "datasets--me--geo"
    files = contents("images/00/1.jpg", "images/00/2.jpg")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("3.jpg", b"packed")
    for number, (name, data) in enumerate([*files.items(), ("images/01.zip", stream.getvalue())]):
        write(repository, {f"blobs/abcdef{number}": data})
        path = repository / "snapshots" / revision / name
        path.parent.mkdir(parents=True, exist_ok=True)
        target = f"{'../' * (name.count('/') + 2)}blobs/abcdef{number}"
        if as_text:
            path.write_text(target)
        else:
            path.symlink_to(target)
    write(repository, {"refs/main": revision.encode()})
    return repository / "snapshots" / revision


HUB_NAMES = ["images/00/1.jpg", "images/00/2.jpg", "3.jpg"]
HUB_BYTES = [*contents("images/00/1.jpg", "images/00/2.jpg").values(), b"packed"]


@pytest.mark.parametrize("as_text", [False, True], ids=["links", "links copied as text"])
@pytest.mark.parametrize("spelling", ["as they are", "base names", "another folder"])
def test_a_snapshot_of_the_hub_gives_every_photo(tmp_path: Path, spelling: str, as_text: bool) -> None:
    root = hub_cache(tmp_path, as_text=as_text)
    names = {
        "as they are": HUB_NAMES,
        "base names": [name.rpartition("/")[2] for name in HUB_NAMES],
        "another folder": [f"deep/{name.rpartition('/')[2]}" for name in HUB_NAMES],
    }[spelling]
    assert read_all([root], names) == (HUB_BYTES, [])
    assert read_all([root / "images"], names) == (HUB_BYTES, [])


def test_the_repository_itself_shows_its_main_revision_once(tmp_path: Path) -> None:
    root = hub_cache(tmp_path)
    hub_cache(tmp_path, "older").parent.joinpath("../refs/main").write_text("abc123\n")
    repository = root.parent.parent
    assert listed(repository) == [
        "3.jpg", "snapshots/abc123/images/00/1.jpg", "snapshots/abc123/images/00/2.jpg"
    ]  # fmt: skip
    results, skipped = read_all([tmp_path], HUB_NAMES)
    assert results == HUB_BYTES
    assert "another revision than abc123" in " ".join(skipped)


def test_a_snapshot_may_not_lead_out_of_its_repository(tmp_path: Path) -> None:
    root = hub_cache(tmp_path)
    write(tmp_path, contents("secret/9.jpg", "datasets--other--set/blobs/ff"))
    (root / "9.jpg").symlink_to(tmp_path / "secret/9.jpg")
    (root / "8.jpg").symlink_to("../../../datasets--other--set/blobs/ff")
    (root / "7.jpg").write_text("../../../secret/9.jpg")
    results, skipped = read_all([root], ["9.jpg", "8.jpg", "7.jpg"])
    assert results == ["missing", "missing", b"../../../secret/9.jpg"]
    assert "leads outside its folder; --follow-links opens it: 2" in skipped[0]


def test_folders_that_only_look_like_a_repository_open_nothing(tmp_path: Path) -> None:
    write(tmp_path, contents("mine/blobs/ff"))
    root = write(tmp_path / "mine/snapshots/1", contents("x.jpg"))
    (root / "1.jpg").symlink_to("../../blobs/ff")
    assert read_all([root], ["1.jpg"])[0] == ["missing"]


# Links: folders of them.


@pytest.fixture
def folder_of_links(tmp_path: Path) -> Path:
    """Files, a folder and an archive that lie elsewhere; a ring; and the same file's name kept or changed."""
    elsewhere = write(tmp_path / "disk", contents("a.jpg", "b.jpg", "deep/c.jpg", "deep/d/e.jpg"))
    (elsewhere / "f.tar").write_bytes(tar_of({"f.jpg": b"in a tar"}))
    root = write(tmp_path / "mine", contents("own.jpg"))
    (root / "a.jpg").symlink_to(elsewhere / "a.jpg")
    (root / "other name.jpg").symlink_to(elsewhere / "b.jpg")
    (root / "deep").symlink_to(elsewhere / "deep")
    (root / "f.tar").symlink_to(elsewhere / "f.tar")
    (elsewhere / "deep/back").symlink_to(root)
    (elsewhere / "deep/ring").symlink_to(elsewhere / "deep")
    return root


LINKED = ["a.jpg", "other name.jpg", "deep/c.jpg", "deep/d/e.jpg", "f.jpg", "own.jpg"]


@pytest.mark.parametrize("prefix", ["", "x/"])
def test_links_out_of_a_folder_are_followed_when_asked_for(folder_of_links: Path, prefix: str) -> None:
    names = [prefix + name.rpartition("/")[2] if prefix else name for name in LINKED]
    results, skipped = read_all([folder_of_links], names, follow_links=True)
    assert all(isinstance(result, bytes) for result in results)
    assert skipped == []
    results, skipped = read_all([folder_of_links], names)
    assert [isinstance(result, bytes) for result in results] == [False] * 5 + [True]
    assert "--follow-links opens it: 4 (first: " in skipped[0]


def test_followed_links_are_listed_once_and_rings_end(folder_of_links: Path) -> None:
    assert listed(folder_of_links, follow_links=True) == sorted(LINKED)


def test_a_link_to_nowhere_is_noted_whatever_is_allowed(tmp_path: Path) -> None:
    root = write(tmp_path / "mine", contents("1.jpg"))
    (root / "2.jpg").symlink_to("gone.jpg")
    results, skipped = read_all([root], ["1.jpg", "2.jpg"], follow_links=True)
    assert results[1] == "missing"
    assert "leads nowhere: 1 (first: 2.jpg)" in skipped[0]


@pytest.fixture
def linked_photos(tmp_path: Path) -> tuple[Path, Path]:
    """A table and a folder whose photos are links to elsewhere."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / f"disk/{number}.png").write_bytes(encode(photo(8, 8, number), "PNG"))
        (tmp_path / f"images/{number}.png").symlink_to(tmp_path / f"disk/{number}.png")
    (tmp_path / "truth.csv").write_text("image,lat,lon\n" + "".join(f"{n}.png,{n + 1},2\n" for n in range(3)))
    return tmp_path / "truth.csv", tmp_path / "images"


def pinpoint(*words: object, code: int = 0) -> Any:
    result = CliRunner().invoke(cli, [str(word) for word in words], prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def test_verify_and_run_say_why_nothing_was_found_and_the_fix_works(
    linked_photos: tuple[Path, Path], tmp_path: Path
) -> None:
    table, images = linked_photos
    plugin = tmp_path / "looks.py"
    plugin.write_text(LOOKING_METHOD)
    where = ["--data", table, "--images", images]
    verified = pinpoint("datasets", "verify", "table", *where, code=1).stdout
    run = ["--plugin", plugin, "run", "looks", "table", *where, "--home", tmp_path]
    refused = pinpoint(*run, code=2).stderr
    for text in (verified, refused):
        assert "symbolic link leads outside its folder; --follow-links opens it: 3 (first: " in text
    assert "fix:   add --follow-links" in refused
    assert "3 of 3" in pinpoint("datasets", "verify", "table", *where, "--follow-links").stdout
    pinpoint(*run, "--follow-links")


LOOKING_METHOD = """
import numpy as np
from pinpoint_harness import hookimpl
from pinpoint_harness.types import MethodInfo, Predictions


class Looks:
    answer_version = 1
    input = "image"

    def __init__(self, params, context):
        pass

    def predict(self, queries):
        return Predictions(np.ones((len(queries), 2)))


@hookimpl
def pinpoint_register(register):
    register.method("looks", f"{__name__}:Looks", MethodInfo(title="Looks at photos and answers 1, 1"))
"""


def test_a_run_that_finds_some_photos_says_what_was_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "images", contents("1.jpg"))
    (tmp_path / "images/b.zip").write_bytes(b"PK\x03\x04 damaged")
    with ImageStore.open([tmp_path / "images"]) as store, caplog.at_level(logging.WARNING):
        refs = find_any(store, pd.Series(["1.jpg", "2.jpg"]), "")
    assert (refs >= 0).tolist() == [True, False]
    assert "left out: b.zip: archive cannot be read" in caplog.text


def test_nothing_found_names_the_first_reasons_and_counts_the_rest(tmp_path: Path) -> None:
    for number in range(15):
        write(tmp_path, {f"{number}.zip": b"PK\x03\x04 damaged"})
    with ImageStore.open([tmp_path]) as store, pytest.raises(DataError) as caught:
        find_any(store, pd.Series(["1.jpg"]), " of 'mine'")
    assert "none of the 1 photos of 'mine' was found" in str(caught.value)
    assert str(caught.value).count("archive cannot be read") == 10
    assert "5 more; `pinpoint datasets verify`" in str(caught.value)


# Links within a tar.


def test_hard_links_are_the_member_they_lead_to(tmp_path: Path) -> None:
    links = [link("sub/2.jpg", "sub/1.jpg"), link("sub/3.jpg", "./sub/2.jpg")]
    (tmp_path / "a.tar").write_bytes(tar_of(contents("sub/1.jpg"), links))
    expected = contents("sub/1.jpg")["sub/1.jpg"]
    assert read_all([tmp_path / "a.tar"], ["1.jpg", "2.jpg", "3.jpg"]) == ([expected] * 3, [])


@pytest.mark.parametrize(
    ("name", "target"),
    [("2.jpg", "sub/1.jpg"), ("deep/2.jpg", "../sub/1.jpg"), ("sub/2.jpg", "1.jpg"), ("x/2.jpg", "../y.jpg")],
)
def test_symbolic_links_within_a_tar_are_followed(tmp_path: Path, name: str, target: str) -> None:
    members = [link(name, target, tarfile.SYMTYPE), link("y.jpg", "sub/1.jpg", tarfile.SYMTYPE)]
    (tmp_path / "a.tar").write_bytes(tar_of(contents("sub/1.jpg"), members))
    expected = contents("sub/1.jpg")["sub/1.jpg"]
    assert read_all([tmp_path / "a.tar"], [name]) == ([expected], [])


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "absent.jpg", "2.jpg", "", "sub"])
@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links_to_anything_else_are_counted(tmp_path: Path, target: str, kind: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(contents("sub/1.jpg"), [link("2.jpg", target, kind)]))
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg", "2.jpg"])
    assert results[1] == "missing"
    assert skipped == ["a.tar: link to what the tar does not hold: 1 (first: 2.jpg)"]


def test_a_hard_link_keeps_what_it_led_to_before_an_update(tmp_path: Path) -> None:
    first = tar_of({"1.jpg": b"old"}, [link("2.jpg", "1.jpg")], end=False)
    (tmp_path / "a.tar").write_bytes(first + tar_of({"1.jpg": b"new"}))
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg", "2.jpg"])
    assert results == [b"new", b"old"]
    assert skipped == ["a.tar: replaced by a later member of the same name: 1"]


def test_links_that_multiply_do_not_take_long(tmp_path: Path) -> None:
    # Looking through all members of a name for each link to it would take minutes.
    members = [tarfile.TarInfo("1.jpg")] * 6000 + [link("1.jpg", "1.jpg"), link("2.jpg", "2.jpg")] * 6000
    (tmp_path / "a.tar").write_bytes(tar_of({}, members))
    started = time.process_time()
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg", "2.jpg"])
    assert results == [b"", "missing"]
    assert time.process_time() - started < 10
    assert "link to what the tar does not hold: 6000" in skipped[0]


def test_more_links_than_are_followed_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_LINKS", 3)
    links = [link(f"{number}.jpg", "x.jpg") for number in range(5)]
    (tmp_path / "a.tar").write_bytes(tar_of(contents("x.jpg"), links))
    results, skipped = read_all([tmp_path / "a.tar"], [f"{number}.jpg" for number in range(5)])
    assert results[3:] == ["missing"] * 2
    assert "more than 3 links" in skipped[0]


# Names.

ACCENTS = ["São Paulo.jpg", "Zürich.jpg", "Łódź.jpg", "東京.jpg", "ひがし/がぎぐ.jpg", "plain.jpg"]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize(("stored", "wanted"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_are_the_same_however_they_are_stored(
    tmp_path: Path, kind: str, stored: str, wanted: str
) -> None:
    files = {unicodedata.normalize(stored, name): name.encode() for name in ACCENTS}  # type: ignore[arg-type]
    path = tmp_path / f"p.{kind}"
    if kind == "folder":
        write(path, files)
    elif kind == "tar":
        path.write_bytes(tar_of(files))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    names = [unicodedata.normalize(wanted, name) for name in ACCENTS]  # type: ignore[arg-type]
    assert read_all([path], names) == ([name.encode() for name in ACCENTS], [])


def zip_with_raw_names(path: Path, names: Mapping[bytes, bytes], extra: bytes = b"") -> Path:
    """A zip whose names are the given bytes, without the flag that calls them UTF-8."""
    stand_ins = {f"{'x' * (len(name) - 2)}{number:02d}": name for number, name in enumerate(names)}
    with zipfile.ZipFile(path, "w") as archive:
        for stand_in, name in stand_ins.items():
            member = zipfile.ZipInfo(stand_in)
            member.extra = extra
            archive.writestr(member, names[name])
    data = path.read_bytes()
    for stand_in, name in stand_ins.items():
        data = data.replace(stand_in.encode(), name)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ACCENTS)
def test_utf8_names_are_recognised_without_the_flag(tmp_path: Path, name: str) -> None:
    path = zip_with_raw_names(tmp_path / "a.zip", {name.encode(): b"photo"})
    assert read_all([path], [name]) == ([b"photo"], [])


def test_names_that_are_no_utf8_are_read_as_dos_wrote_them(tmp_path: Path) -> None:
    path = zip_with_raw_names(tmp_path / "a.zip", {"Zürich.jpg".encode("cp437"): b"photo"})
    assert read_all([path], ["Zürich.jpg"])[0] == [b"photo"]


@pytest.mark.parametrize("is_meant", [True, False])
def test_the_name_in_the_extra_field_counts_if_it_belongs_to_the_name(tmp_path: Path, is_meant: bool) -> None:
    raw = "Zürich.jpg".encode("cp437")
    checksum = zlib.crc32(raw if is_meant else b"another")
    field = b"\x01" + struct.pack("<I", checksum) + "東京.jpg".encode()
    extra = struct.pack("<HH", 0x7075, len(field)) + field
    path = zip_with_raw_names(tmp_path / "a.zip", {raw: b"photo"}, extra)
    assert read_all([path], ["東京.jpg" if is_meant else "Zürich.jpg"])[0] == [b"photo"]


@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
def test_backslashes_stand_between_folders(tmp_path: Path, kind: str) -> None:
    files = {"sub\\img0.jpg": b"0", "sub\\deep\\img1.jpg": b"1"}
    path = tmp_path / f"p.{kind}"
    if kind == "folder":  # as unpacking such a zip with Python leaves it
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)
    elif kind == "tar":
        path.write_bytes(tar_of(files))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("sub\\", b"")
            for name, data in files.items():
                archive.writestr(name, data)
    for names in (["sub/img0.jpg", "sub/deep/img1.jpg"], list(files), ["img0", "img1"]):
        assert read_all([path], names) == ([b"0", b"1"], [])


@pytest.mark.parametrize(
    "name", ["..\\..\\1.jpg", "\\\\host\\1.jpg", "\\1.jpg", "D:\\1.jpg", "a\\..\\..\\1.jpg"]
)
def test_backslashes_lead_no_further_than_slashes(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    results, skipped = read_all([tmp_path / "a.zip"], ["1.jpg"])
    assert results == ["missing"]
    assert "climbs out" in skipped[0] or "absolute path" in skipped[0]


# Tars and zips that were added to.


@pytest.mark.parametrize("zeros", [0, 512, 10_240, 102_400])
def test_tars_put_behind_one_another_are_all_read(tmp_path: Path, zeros: int) -> None:
    parts = [tar_of(contents(f"{number}.jpg")) + bytes(zeros) for number in range(3)]
    (tmp_path / "a.tar").write_bytes(b"".join(parts))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(b"".join(parts)))
    names = ["0.jpg", "1.jpg", "2.jpg"]
    for path in ("a.tar", "b.tar.gz"):
        assert read_all([tmp_path / path], names) == (list(contents(*names).values()), [])


@pytest.mark.parametrize("behind", [b"something else", b"x" * 600, bytes(512) + b"\1" * 512])
def test_what_else_lies_behind_a_tar_is_said(tmp_path: Path, behind: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(contents("1.jpg")) + behind)
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg"])
    assert results == list(contents("1.jpg").values())
    assert skipped == ["a.tar: what lies behind the tar's end mark after 1 members is not read: 1"]


def test_looking_for_a_further_tar_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_GAP_BYTES", 4096)
    (tmp_path / "a.tar").write_bytes(tar_of(contents("1.jpg")) + bytes(100_000) + tar_of(contents("2.jpg")))
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg", "2.jpg"])
    assert results[1] == "missing"
    assert "is not read" in skipped[0]


def test_the_last_of_several_members_of_one_name_counts_in_a_zip_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("2.jpg", b"two")
        archive.writestr("1.jpg", b"old")
        for data in (b"older", b"newest"):
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("1.jpg", data)
    results, skipped = read_all([tmp_path / "a.zip"], ["1.jpg", "2.jpg"])
    assert results == [b"newest", b"two"]
    assert skipped == ["a.zip: replaced by a later member of the same name: 2"]


# Other ways to pack.

PACKERS = {".tar.xz": lzma.compress, ".txz": lzma.compress, ".tar.bz2": bz2.compress, ".tbz2": bz2.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_xz_and_bzip2_are_unpacked(tmp_path: Path, suffix: str) -> None:
    files = {f"{number}.jpg": os.urandom(30_000) for number in range(5)}
    (tmp_path / f"a{suffix}").write_bytes(PACKERS[suffix](tar_of(files)))
    assert read_all([tmp_path], list(files)) == (list(files.values()), [])


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.bz2"])
def test_packed_pieces_behind_one_another_are_one_tar(tmp_path: Path, suffix: str) -> None:
    data = tar_of({f"{number}.jpg": os.urandom(300_000) for number in range(9)})
    pieces = [PACKERS[suffix](data[start : start + 700_001]) for start in range(0, len(data), 700_001)]
    (tmp_path / f"a{suffix}").write_bytes(b"".join(pieces) + bytes(8 if "xz" in suffix else 0))
    results, skipped = read_all([tmp_path], [f"{number}.jpg" for number in range(9)])
    assert all(isinstance(result, bytes) for result in results)
    assert skipped == []


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.bz2"])
def test_packed_tars_that_break_off_give_what_lies_before(tmp_path: Path, suffix: str) -> None:
    files = {f"{number}.jpg": os.urandom(400_000) for number in range(8)}
    whole = PACKERS[suffix](tar_of(files))
    (tmp_path / f"a{suffix}").write_bytes(whole[: len(whole) * 3 // 4])
    results, skipped = read_all([tmp_path], list(files))
    assert 1 <= sum(isinstance(result, bytes) for result in results) < 8
    assert "breaks off, only what lies before is read" in " ".join(skipped)


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.bz2"])
def test_bombs_are_unpacked_no_further_than_the_ratio_allows(tmp_path: Path, suffix: str) -> None:
    files = {"1.jpg": os.urandom(50_000), "2.jpg": bytes(60_000_000)}
    (tmp_path / f"a{suffix}").write_bytes(PACKERS[suffix](tar_of(files)))
    results, skipped = read_all([tmp_path], list(files))
    assert results[1] == "missing"
    assert "unpacks to more than 200 times" in " ".join(skipped)


def test_xz_may_not_ask_for_more_memory_than_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "MAX_XZ_MEMORY_BYTES", 2**20)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**24}]
    packed = lzma.compress(tar_of(contents("1.jpg")), filters=filters)
    (tmp_path / "a.tar.xz").write_bytes(packed)
    results, skipped = read_all([tmp_path], ["1.jpg"])
    assert results == ["missing"]
    assert "archive cannot be read" in skipped[0]


@pytest.mark.parametrize(
    ("name", "beginning", "words"),
    [
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
        ("a.rar", b"Rar!\x1a\x07\x01\x00", "a RAR archive: unpack it"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd", "`zstd -d` makes it a plain .tar"),
    ],
)
def test_archives_that_are_not_read_say_so_with_a_way_out(
    tmp_path: Path, name: str, beginning: bytes, words: str
) -> None:
    write(tmp_path, {name: beginning + bytes(2000), **contents("1.jpg")})
    results, skipped = read_all([tmp_path], ["1.jpg", "2.jpg"])
    assert results[1] == "missing"
    assert len(skipped) == 1
    assert words in skipped[0]


def test_films_are_counted_and_sidecars_passed_over(tmp_path: Path) -> None:
    write(tmp_path, contents("1.jpg", "1.MOV", "2.mp4", "1.jpg.xmp", "1.AAE", "1.jpg.json", "x.ini"))
    assert listed(tmp_path) == ["1.jpg"]
    assert "a film, not a photo: 2 (first: " in read_all([tmp_path], ["9"])[1][0]


# Parquet.


def parquet_of(path: Path, files: Mapping[str, bytes | None], shape: str = "hub", **options: Any) -> Path:
    """Pictures in the shapes in use; latitude 1, 2, 3, ... beside them."""
    names, data = list(files), list(files.values())
    places = {"latitude": np.arange(1.0, len(files) + 1), "longitude": np.full(len(files), 2.0)}
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": one, "path": name} for name, one in files.items()]
    columns: dict[str, Any] = {
        "hub": {"id": names, "image": pa.array(images, struct_type)},
        "no id": {"image": pa.array(images, struct_type)},
        "windows path": {
            "image": pa.array([{**one, "path": f"C:\\me\\{one['path']}"} for one in images], struct_type)
        },
        "bytes": {"file_name": names, "image": pa.array(data, pa.large_binary())},
        "webdataset": {"__key__": names, "jpg": pa.array(data, pa.binary())},
        "number": {"photo_id": range(10, 10 + len(names)), "img": pa.array(data, pa.binary())},
    }[shape]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, **places}), path, **options)
    return path


@pytest.mark.parametrize("shape", ["hub", "no id", "windows path", "bytes", "webdataset", "number"])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_parquet_gives_its_pictures_in_every_shape(tmp_path: Path, shape: str, compression: str) -> None:
    files = {f"{number}.jpg": os.urandom(500) for number in range(10, 60)}
    path = parquet_of(tmp_path / "a.parquet", files, shape, compression=compression, row_group_size=7)
    order = np.random.default_rng(0).permutation(list(files)).tolist()
    for root in (path, tmp_path):
        assert read_all([root], order) == ([files[name] for name in order], [])


def test_parquet_with_places_and_pictures_is_a_dataset_by_itself(tmp_path: Path) -> None:
    files = {f"{number}.png": encode(photo(8, 8, number), "PNG") for number in range(4)}
    path = parquet_of(tmp_path / "set.parquet", files)
    write(tmp_path, contents("0.png"))  # not taken for the row's own
    text = pinpoint("datasets", "verify", "table", path).stdout
    assert "4 of 4" in text


def test_the_rows_own_id_joins_where_its_picture_is_called_otherwise(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": str(number).encode(), "path": "image.jpg"} for number in range(3)]
    table = pa.table(
        {"id": ["a", "b", "c"], "image": pa.array(images, kind), "lat": [1.0, 2, 3], "lon": [1.0, 2, 3]}
    )
    pq.write_table(table, tmp_path / "set.parquet")
    dataset = AnyTable(DataLocation(tmp_path / "set.parquet"))
    with dataset.images() as store:
        refs = store.find(dataset.truth()["image"])
        assert [store.read(ref) for ref in refs] == [b"0", b"1", b"2"]


def test_a_table_that_only_names_its_pictures_leaves_them_to_the_folder(tmp_path: Path) -> None:
    parquet_of(tmp_path / "set.parquet", {"0.png": None, "1.png": None})
    write(tmp_path, {f"{number}.png": encode(photo(8, 8, number), "PNG") for number in range(2)})
    assert "2 of 2" in pinpoint("datasets", "verify", "table", tmp_path / "set.parquet").stdout


@pytest.mark.parametrize("room", [0, 5_000, 10**9])
def test_rows_come_right_in_any_order_and_from_many_files_at_once(
    tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MAX_KEPT_BYTES", room)
    files = {f"{number}.jpg": os.urandom(400) for number in range(120)}
    names = list(files)
    for shard in range(6):
        chosen = {name: files[name] for name in names[shard * 20 : shard * 20 + 20]}
        parquet_of(tmp_path / f"{shard}.parquet", chosen, row_group_size=9)
    with ImageStore.open([tmp_path]) as store:
        refs = store.find(pd.Series(names))
        for seed in range(3):
            for index in np.random.default_rng(seed).permutation(len(names)):
                assert store.read(refs[index]) == files[names[index]]
        rows = store._rows
        assert rows._kept_bytes == sum(map(len, rows._kept.values())) <= room


def test_folders_of_shards_are_read_beside_their_metadata(tmp_path: Path) -> None:
    files = {f"{number}.jpg": os.urandom(300) for number in range(30)}
    names = list(files)
    for shard in range(3):
        chosen = {name: files[name] for name in names[shard * 5 : shard * 5 + 5]}
        parquet_of(tmp_path / f"data/train-{shard:05d}-of-00003.parquet", chosen)
    (tmp_path / "more.tar").write_bytes(
        tar_of({name: files[name] for name in names[15:]} | {"15.json": json.dumps({"lat": 1}).encode()})
    )
    pq.write_table(pa.table({"file_name": names, "lat": np.zeros(30)}), tmp_path / "metadata.parquet")
    write(tmp_path, {"metadata.csv": b"file_name,lat,lon\n"})
    assert read_all([tmp_path], names) == (list(files.values()), [])


def test_a_row_without_bytes_leaves_its_file_to_the_folder_or_is_missing(tmp_path: Path) -> None:
    path = parquet_of(tmp_path / "a.parquet", {"1.jpg": b"one", "2.jpg": None})
    assert read_all([path], ["1.jpg", "2.jpg"])[0] == [b"one", "missing"]
    write(tmp_path, {"2.jpg": b"two"})
    assert read_all([tmp_path], ["1.jpg", "2.jpg"])[0] == [b"one", b"two"]


def test_a_table_given_for_pictures_is_refused_in_words(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1"], "lat": [1.0]}), tmp_path / "a.parquet")
    results, skipped = read_all([tmp_path / "a.parquet"], ["1"])
    assert results == ["missing"]
    assert skipped == ["a.parquet: a table without a column of pictures: 1"]


def test_pictures_without_names_are_said(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([b"x"], pa.binary())}), tmp_path / "a.parquet")
    results, skipped = read_all([tmp_path], ["1"])
    assert results == ["missing"]
    assert "pictures without names" in skipped[0]


@pytest.mark.parametrize("name", ["../1.jpg", "a\n1.jpg", ""])
def test_unsafe_names_in_parquet_are_counted(tmp_path: Path, name: str) -> None:
    path = parquet_of(tmp_path / "a.parquet", {name: b"x", "2.jpg": b"y"}, "no id")
    results, skipped = read_all([path], ["1.jpg", "2.jpg"])
    assert results == ["missing", b"y"]
    assert "row's name" in skipped[0]


def test_one_long_value_said_often_takes_the_room_of_one(tmp_path: Path) -> None:
    long = os.urandom(4_000_000)
    indices = pa.array(np.zeros(3000, np.int32))
    bytes_ = pa.DictionaryArray.from_arrays(indices, pa.array([long], pa.binary()))
    paths = pa.array([f"{number}.jpg" for number in range(3000)])
    table = pa.table({"image": pa.StructArray.from_arrays([bytes_, paths], ["bytes", "path"])})
    pq.write_table(table, tmp_path / "a.parquet", dictionary_pagesize_limit=2**23, store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 5_000_000
    with ImageStore.open([tmp_path / "a.parquet"]) as store:
        refs = store.find(pd.Series(["5.jpg", "2999.jpg"]))
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        assert [store.read(ref) for ref in refs] == [long, long]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak + pa.total_allocated_bytes() - before < 2 * parquet.MAX_KEPT_BYTES


def test_a_bomb_in_parquet_is_refused_by_its_ratio(tmp_path: Path) -> None:
    path = parquet_of(
        tmp_path / "a.parquet", {"1.jpg": bytes(50_000_000)}, compression="zstd", use_dictionary=False
    )
    results, skipped = read_all([path], ["1.jpg"])
    assert results == ["missing"]
    assert "more than 200 times" in skipped[0]


@pytest.mark.parametrize("seed", range(60))
def test_damaged_parquet_is_read_or_says_why(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    path = parquet_of(
        tmp_path / "a.parquet", {f"{n}.jpg": random.bytes(200) for n in range(40)}, row_group_size=9
    )
    data = bytearray(path.read_bytes())
    for place in random.integers(4, len(data), 8):
        data[place] ^= int(random.integers(1, 256))
    path.write_bytes(data if seed % 3 else data[: int(random.integers(4, len(data)))])
    results, skipped = read_all([tmp_path], [f"{n}.jpg" for n in range(40)])
    assert all(
        isinstance(result, bytes) or result.startswith(("missing", "unreadable")) for result in results
    )
    assert skipped or any(isinstance(result, bytes) for result in results)


def test_symbolic_links_in_a_zip_are_still_left_out(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("1.jpg")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, "2.jpg")
        archive.writestr("2.jpg", b"x")
    assert read_all([tmp_path / "a.zip"], ["1.jpg"])[1] == ["a.zip: symbolic link: 1 (first: 1.jpg)"]
