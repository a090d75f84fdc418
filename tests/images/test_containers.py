from __future__ import annotations

import errno
import gc
import gzip
import io
import itertools
import os
import stat
import struct
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness.errors import DataError
from pinpoint_harness.images import Failure, ImageStore, PassingTroubleError, dataset_roots
from pinpoint_harness.images.containers import common as common_module
from pinpoint_harness.images.containers import folder as folder_module
from pinpoint_harness.images.containers import store as store_module
from pinpoint_harness.images.containers import tar as tar_module
from pinpoint_harness.images.decode import decode

Pictures = Mapping[str, bytes]


def picture(name: str) -> bytes:
    """Content that tells which file it came from."""
    return b"\xff\xd8" + f" the bytes of {name} ".encode("utf-8", "surrogateescape") * 3


def pictures(*names: str) -> dict[str, bytes]:
    return {name: picture(name) for name in names}


def write_folder(root: Path, files: Pictures) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, files: Pictures, method: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tar_bytes(
    files: Pictures, style: int = tarfile.GNU_FORMAT, members: Sequence[tarfile.TarInfo] = ()
) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=style) as archive:
        for member in members:
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def write_tar(path: Path, files: Pictures, members: Sequence[tarfile.TarInfo] = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(files, members=members))
    return path


def read_all(roots: Sequence[Path], names: Sequence[str]) -> tuple[list[bytes | Failure], list[str]]:
    """What a store over the roots gives for each name, and what it skipped."""
    with ImageStore.open(roots) as store:
        refs = store.find(pd.Series(list(names), dtype="str"))
        return [store.read(ref) for ref in refs], [str(entry) for entry in store.skipped]


def statuses(results: Sequence[bytes | Failure]) -> list[str]:
    return [result.status if isinstance(result, Failure) else "read" for result in results]


# Layouts people have.


def test_osv5m_is_read_from_unextracted_zips_by_bare_id(tmp_path: Path) -> None:
    files = [pictures(*(f"{part:02d}/{part}00{index}.jpg" for index in range(4))) for part in range(5)]
    for part, content in enumerate(files):
        write_zip(tmp_path / f"images/test/{part:02d}.zip", content)
    ids = [f"{part}00{index}" for part in range(5) for index in range(4)]
    results, skipped = read_all(dataset_roots(tmp_path, ["images/test/*.zip"]), ids)
    assert results == [data for content in files for data in content.values()]
    assert skipped == []


@pytest.mark.parametrize("layout", ["images/test/{part}/{id}.jpg", "images/test/{id}.jpg", "test/{id}.jpg"])
def test_osv5m_is_read_from_folders_nested_and_flat(tmp_path: Path, layout: str) -> None:
    ids = [f"{number:015d}" for number in range(12)]
    names = [layout.format(part=f"{index % 3:02d}", id=photo_id) for index, photo_id in enumerate(ids)]
    write_folder(tmp_path, pictures(*names))
    roots = dataset_roots(tmp_path, ["images/test/*.zip", "images/test/[0-9][0-9]", "images/test", "test"])
    assert read_all(roots, ids) == ([picture(name) for name in names], [])


def test_webdataset_shards_in_one_folder_are_read_without_their_labels(tmp_path: Path) -> None:
    for shard in range(6):
        files = pictures(*(f"{shard}{index:05d}.jpg" for index in range(3)))
        labels = {name.replace(".jpg", ".json"): b"{}" for name in files}
        write_tar(tmp_path / f"shards/{shard:05d}.tar", {**files, **labels})
    ids = [f"{shard}{index:05d}" for shard in range(6) for index in range(3)]
    results, skipped = read_all([tmp_path / "shards"], ids)
    assert results == [picture(f"{photo_id}.jpg") for photo_id in ids]
    assert skipped == []


MP16_NAMES = [f"{index:02x}/{255 - index:02x}/{97449151260 + index}.jpg" for index in range(40)]


def write_mp16_pro(folder: Path, parts: int) -> list[bytes]:
    """One tar in byte ranges, member names flattened, an index in pickle beside them."""
    files = {f"images/{name.replace('/', '_')}": picture(name) for name in MP16_NAMES}
    data = tar_bytes(files)
    cuts = np.linspace(0, len(data), parts + 1).astype(int)
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        (folder / f"mp-16-images{part:02d}").write_bytes(data[cuts[part] : cuts[part + 1]])
    (folder / "tar_index.pkl").write_bytes(b"cposix\nsystem\n(S'touch loaded-a-pickle'\ntR.")
    return list(files.values())


@pytest.mark.parametrize("as_file", [False, True])
def test_mp16_pro_is_read_across_its_nineteen_parts(
    tmp_path: Path, as_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = write_mp16_pro(tmp_path / "mp16", 19)
    roots = sorted((tmp_path / "mp16").glob("mp-16-images*")) if as_file else [tmp_path / "mp16"]
    assert read_all(roots, MP16_NAMES) == (expected, [])
    assert not (tmp_path / "loaded-a-pickle").exists()


def test_a_missing_part_costs_what_lies_after_it_and_is_noted(tmp_path: Path) -> None:
    expected = write_mp16_pro(tmp_path, 19)
    (tmp_path / "mp-16-images10").unlink()
    results, skipped = read_all([tmp_path], MP16_NAMES)
    # Header and data of a member take 1,024 bytes.
    whole = sum(part.stat().st_size for part in sorted(tmp_path.glob("mp-16-images*"))[:10]) // 1024
    assert 20 < whole < 30
    assert results[:whole] == expected[:whole]
    assert statuses(results[whole:]) == ["missing"] * (40 - whole)
    assert "part 10 of a split tar is absent" in " ".join(skipped)


def test_numbered_photos_without_extension_are_no_split_tar(tmp_path: Path) -> None:
    names = [f"photo_{number:02d}" for number in range(5)]
    assert read_all([write_folder(tmp_path / "x", pictures(*names))], names)[0] == [
        picture(name) for name in names
    ]


@pytest.mark.parametrize(
    "stored", ["47/5d/9744915126.jpg", "47_5d_9744915126.jpg", "9744915126.jpg", "a/b/9744915126.jpg"]
)
@pytest.mark.parametrize(
    "wanted", ["47/5d/9744915126.jpg", "47_5d_9744915126.jpg", "9744915126", "47\\5d\\9744915126.jpg"]
)
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_every_spelling_finds_every_layout(tmp_path: Path, stored: str, wanted: str, kind: str) -> None:
    files = {stored: b"the one", "47/5d/1.jpg": b"another", "2.jpg": b"a third"}
    root = {
        "folder": lambda: write_folder(tmp_path / "images", files),
        "zip": lambda: write_zip(tmp_path / "images.zip", files),
        "tar": lambda: write_tar(tmp_path / "images.tar", files),
    }[kind]()
    assert read_all([root], [wanted])[0] == [b"the one"]


def test_names_of_im2gps3k_with_an_at_sign_are_ordinary_names(tmp_path: Path) -> None:
    name = "1000269685_e60e9cdfb4_1125_78841376@N00.jpg"
    root = write_folder(tmp_path, {f"im2gps3ktest/{name}": b"photo"})
    assert read_all([root], [name, "1000269685"])[0][0] == b"photo"
    assert read_all([root], ["1000269685"])[0] == [b"photo"]


# Finding.


def test_expected_places_are_looked_up_without_listing_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{index:02x}/aa/{1000 + index}.jpg" for index in range(30)]
    write_folder(tmp_path, pictures(*names))

    def no_listing(path: str) -> None:
        raise AssertionError(f"listed {path}")

    monkeypatch.setattr(os, "scandir", no_listing)
    flat = [name.replace("/", "_") for name in names]
    assert read_all([tmp_path], names)[0] == [picture(name) for name in names]
    assert read_all([tmp_path], flat)[0] == [picture(name) for name in names]


def test_archives_are_not_opened_while_folders_have_every_name(tmp_path: Path) -> None:
    write_folder(tmp_path / "00", pictures("1.jpg"))
    (tmp_path / "00.zip").write_bytes(b"damaged, but never looked at")
    assert read_all([tmp_path / "00.zip", tmp_path / "00"], ["1"]) == ([picture("1.jpg")], [])


def test_an_extracted_picture_wins_over_the_zip_it_came_from(tmp_path: Path) -> None:
    write_folder(tmp_path / "00", {"1.jpg": b"extracted"})
    write_zip(tmp_path / "00.zip", {"00/1.jpg": b"packed", "00/2.jpg": b"only packed"})
    results, _ = read_all([tmp_path / "00.zip", tmp_path / "00"], ["1", "2"])
    assert results == [b"extracted", b"only packed"]


def test_a_name_that_fits_two_pictures_is_an_error_only_when_it_is_asked_for(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", pictures("x/1.jpg", "2.jpg"))
    write_zip(tmp_path / "b.zip", pictures("y/1.jpg", "3.jpg"))
    roots = [tmp_path / "a.zip", tmp_path / "b.zip"]
    assert statuses(read_all(roots, ["2.jpg", "3.jpg"])[0]) == ["read", "read"]
    with pytest.raises(DataError, match="could be"):
        read_all(roots, ["1.jpg", "2.jpg"])


def test_of_one_name_twice_in_a_tar_the_last_counts_as_in_unpacking(tmp_path: Path) -> None:
    data = tar_bytes(pictures("1.jpg", "2.jpg"))[: 4 * 512] + tar_bytes({"1.jpg": b"updated"})
    (tmp_path / "a.tar").write_bytes(data)
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg", "2.jpg"])
    assert results == [b"updated", picture("2.jpg")]
    assert skipped == ["a.tar: replaced by a later member of the same name: 1"]


@pytest.mark.parametrize("second", ["aa/bb/1.jpg", "1.png"])
def test_one_picture_is_never_given_to_two_names(tmp_path: Path, second: str) -> None:
    write_folder(tmp_path / "images", pictures("1.jpg"))
    write_zip(tmp_path / "images.zip", pictures("1.jpg"))
    for root in (tmp_path / "images", tmp_path / "images.zip"):
        assert statuses(read_all([root], ["1.jpg", second])[0]) == ["read", "missing"]


def test_roots_inside_one_another_count_their_pictures_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "test", pictures("00/deep/1.jpg", "01/deep/2.jpg"))
    write_zip(tmp_path / "test/02.zip", pictures("3.jpg"))
    roots = [tmp_path / "test/00", tmp_path / "test", tmp_path / "test/02.zip", tmp_path / "test/../test"]
    results, _ = read_all(roots, ["1.jpg", "2.jpg", "3.jpg", "4.jpg"])
    assert statuses(results) == ["read", "read", "read", "missing"]


def test_what_no_container_has_is_missing_and_not_an_error(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", pictures("1.jpg"))
    results, _ = read_all(
        [tmp_path / "a.zip", tmp_path / "absent.zip"], ["2.jpg", "1.jpg", "../1.jpg", "1.jpg/", ""]
    )
    assert statuses(results) == ["missing", "read", "missing", "missing", "missing"]


def test_a_store_over_nothing_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of these exists: .*00\.zip"):
        ImageStore.open([tmp_path / "00.zip", tmp_path / "01.zip"])


def test_finding_twice_and_asking_where_gives_the_same_picture(tmp_path: Path) -> None:
    write_folder(tmp_path / "images", pictures("sub/deep/1.jpg"))
    write_zip(tmp_path / "b.zip", pictures("2.jpg"))
    with ImageStore.open([tmp_path / "images", tmp_path / "b.zip"]) as store:
        names = pd.Series(["2.jpg", "1.jpg"], index=[7, 3])
        first, second = store.find(names), store.find(names[::-1])
        assert first.tolist() == second[::-1].tolist()
        assert store.where(first[0]) == "b.zip: 2.jpg"
        assert store.where(first[1]).endswith("images: sub/deep/1.jpg")
        assert store.read(-1) == Failure("missing")


def test_everything_lists_folders_and_archives_with_positions_to_read(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {**pictures("1.jpg", "trip/2.jpg"), "notes.txt": b"x"})
    write_zip(tmp_path / "mine/more.zip", pictures("3.jpg"))
    write_tar(tmp_path / "a.tar", pictures("4.jpg"))
    with ImageStore.open([tmp_path / "mine", tmp_path / "a.tar"]) as store:
        store.find(pd.Series(["1.jpg"]))
        listed = store.everything()
        assert sorted(listed["image"]) == ["1.jpg", "3.jpg", "4.jpg", "trip/2.jpg"]
        assert [store.read(ref) for ref in listed["ref"]] == [picture(name) for name in listed["image"]]
    (tmp_path / "empty").mkdir()
    with ImageStore.open([tmp_path / "empty"]) as store:
        assert store.everything().shape == (0, 2)


@given(
    st.sets(
        st.from_regex(r"[a-z0-9]{1,3}(/[a-z0-9_@ ü-]{1,8}){0,2}\.(jpg|png)", fullmatch=True), max_size=12
    ),
    st.sampled_from(["zip", "deflated zip", "tar", "pax tar"]),
)
@settings(max_examples=60, deadline=None)
def test_archives_give_what_python_itself_reads_from_them(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], kind: str
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    files = pictures(*names)
    if "zip" in kind:
        path = write_zip(
            folder / "a.zip", files, zipfile.ZIP_DEFLATED if "deflated" in kind else zipfile.ZIP_STORED
        )
        with zipfile.ZipFile(path) as archive:
            expected = {name: archive.read(name) for name in archive.namelist()}
    else:
        path = folder / "a.tar"
        path.write_bytes(tar_bytes(files, tarfile.PAX_FORMAT if "pax" in kind else tarfile.GNU_FORMAT))
        with tarfile.open(path) as tar:
            expected = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    results, skipped = read_all([path], list(expected))
    assert dict(zip(expected, results, strict=True)) == files
    assert skipped == []


def test_long_names_self_extracting_zips_and_comments_are_understood(tmp_path: Path) -> None:
    long_name = "/".join(["folder" * 8] * 5) + "/1.jpg"
    for style in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        (tmp_path / f"{style}.tar").write_bytes(tar_bytes(pictures(long_name), style))
        assert statuses(read_all([tmp_path / f"{style}.tar"], [long_name])[0]) == ["read"]
    write_zip(tmp_path / "a.zip", pictures(long_name))
    (tmp_path / "b.exe").write_bytes(
        b"a program that unpacks itself" * 50 + (tmp_path / "a.zip").read_bytes()
    )
    with zipfile.ZipFile(tmp_path / "b.exe", "a") as archive:
        archive.comment = b"thank you for downloading"
    assert read_all([tmp_path / "b.exe"], [long_name])[0] == [picture(long_name)]


def test_zip64_archives_are_understood(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w") as archive,
        archive.open("1.jpg", "w", force_zip64=True) as member,
    ):
        member.write(picture("1.jpg"))
    assert read_all([tmp_path / "a.zip"], ["1.jpg"])[0] == [picture("1.jpg")]


@given(cuts=st.lists(st.integers(0, 30_000), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_a_tar_reads_alike_however_it_is_split(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("split")
    files = pictures(*MP16_NAMES[:12])
    data = tar_bytes(files)
    edges = [0, *sorted(512 + cut % (len(data) - 512) for cut in cuts), len(data)]
    for part, (start, stop) in enumerate(itertools.pairwise(edges)):
        (folder / f"x.tar.{part:03d}").write_bytes(data[start:stop])
    assert read_all([folder], list(files)) == (list(files.values()), [])


def test_thousands_of_members_leave_columns_and_no_objects(tmp_path: Path) -> None:
    names = [f"{number:08d}.jpg" for number in range(4000)]
    for path in (
        write_zip(tmp_path / "a.zip", dict.fromkeys(names, b"x")),
        write_tar(tmp_path / "a.tar", dict.fromkeys(names, b"x")),
    ):
        with ImageStore.open([path]) as store:
            wanted = pd.Series(names)
            gc.collect()
            before = len(gc.get_objects())
            assert (store.find(wanted) >= 0).all()
            gc.collect()
            assert len(gc.get_objects()) - before < 400


def test_indexing_a_tar_keeps_none_of_its_headers_in_memory(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", dict.fromkeys([f"{number:08d}.jpg" for number in range(3000)], b"x"))
    with ImageStore.open([path]) as store:
        tracemalloc.start()
        assert len(store.everything()) == 3000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak / 3000 < 400  # a TarInfo alone takes about 1,000 bytes


# Reading.


@pytest.mark.parametrize("kind", ["folder", "zip", "deflated zip", "tar", "gzipped tar", "split tar"])
def test_many_threads_read_every_picture_right(tmp_path: Path, kind: str) -> None:
    files = {f"{number:04d}.jpg": os.urandom(1 + 37 * number) for number in range(120)}
    root = tmp_path / "root"
    root.mkdir()
    match kind:
        case "folder":
            write_folder(root, files)
        case "zip" | "deflated zip":
            write_zip(
                root / "a.zip", files, zipfile.ZIP_DEFLATED if "deflated" in kind else zipfile.ZIP_STORED
            )
        case "gzipped tar":
            (root / "a.tar.gz").write_bytes(gzip.compress(tar_bytes(files)))
        case _:
            data = tar_bytes(files)
            third = len(data) // 3 if "split" in kind else len(data)
            for part, start in enumerate(range(0, len(data), third)):
                (root / ("a.tar" if kind == "tar" else f"a.tar.{part}")).write_bytes(
                    data[start : start + third]
                )
    with ImageStore.open([root]) as store:
        refs = store.find(pd.Series(list(files)))
        wrong: list[int] = []

        def work(seed: int) -> None:
            for index in np.random.default_rng(seed).permutation(len(files)):
                if store.read(refs[index]) != files[f"{index:04d}.jpg"]:
                    wrong.append(int(index))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files through /proc")
def test_three_hundred_shards_hold_no_file_open(tmp_path: Path) -> None:
    for shard in range(300):
        write_tar(tmp_path / f"{shard:05d}.tar", pictures(f"{shard}.jpg"))
    (tmp_path / "more.tar.gz").write_bytes(gzip.compress(tar_bytes(pictures("zipped.jpg"))))
    before = open_files()
    with ImageStore.open([tmp_path]) as store:
        refs = store.find(pd.Series([*(f"{shard}.jpg" for shard in range(300)), "zipped.jpg"]))
        assert all(isinstance(store.read(ref), bytes) for ref in refs)
        assert open_files() == before + 1  # the unpacked .tar.gz
    assert open_files() == before


@pytest.mark.parametrize("by_number", [True, False])
def test_an_unpacked_tar_leaves_no_file_behind(
    by_number: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files are opened by number it has no name: not even SIGKILL leaves it."""
    if not by_number:
        monkeypatch.setattr(tar_module, "_OPEN_FILES", tmp_path / "no such folder")
    elif not Path("/proc/self/fd").is_dir():
        pytest.skip("this system opens no file by its number")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tar_bytes(pictures("1.jpg"))))
    with ImageStore.open([tmp_path / "a.tgz"]) as store:
        (ref,) = store.find(pd.Series(["1.jpg"]))
        assert store.read(ref) == picture("1.jpg")
        assert len(list((tmp_path / "temporary").iterdir())) == (0 if by_number else 1)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_full_disk_under_an_unpacked_tar_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tar_module, "_temporary_file", FullDisk)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tar_bytes(pictures("1.jpg"))))
    with pytest.raises(DataError, match="TMPDIR"):
        read_all([tmp_path / "a.tgz"], ["1.jpg"])


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_what_is_larger_than_allowed_is_not_read(tmp_path: Path, kind: str) -> None:
    files = {"1.jpg": bytes(1000), "2.jpg": bytes(1001)}
    root = {
        "folder": lambda: write_folder(tmp_path / "images", files),
        "zip": lambda: write_zip(tmp_path / "images.zip", files),
        "tar": lambda: write_tar(tmp_path / "images.tar", files),
    }[kind]()
    with ImageStore.open([root]) as store:
        first, second = (store.read(ref, max_bytes=1000) for ref in store.find(pd.Series(list(files))))
    assert first == bytes(1000)
    assert isinstance(second, Failure)
    assert "1001 bytes, allowed 1000" in second.status


def _tar(folder: Path) -> Path:
    return write_tar(folder / "a.tar", pictures("1.jpg"))


def _zip(folder: Path) -> Path:
    return write_zip(folder / "a.zip", pictures("1.jpg"))


def _loose(folder: Path) -> Path:
    write_folder(folder, pictures("1.jpg"))
    return folder / "1.jpg"


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 512)


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_tar, _zip, _loose])
@pytest.mark.parametrize("spoil", [_longer, Path.unlink, _a_pipe, lambda path: os.utime(path, (1, 1))])
def test_a_picture_that_was_found_and_cannot_be_read_any_more_is_no_result(
    make: Callable[[Path], Path], spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    """Trouble that may pass stops a run: as a miss it would be stored for good."""
    path = make(tmp_path)
    with ImageStore.open([tmp_path]) as store:
        names = pd.Series(["1.jpg"])
        refs = store.find(names)
        store.fingerprint(names, refs)
        spoil(path)
        with pytest.raises(PassingTroubleError, match=r"cannot be read any more[\s\S]*same command again"):
            store.read(refs[0])


@pytest.mark.parametrize("make", [_tar, _zip, _loose])
def test_the_fingerprint_is_of_the_pictures_and_not_of_their_names(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    def fingerprint() -> str:
        with ImageStore.open([tmp_path]) as store:
            return store.fingerprint(names, store.find(names))

    names = pd.Series(["1.jpg"])
    path = make(tmp_path)
    first = fingerprint()
    assert first == fingerprint()
    path.unlink()
    other = {"1.jpg": picture("2.jpg")}  # as long
    if path.suffix == ".jpg":
        write_folder(tmp_path, other)
    else:
        (write_tar if path.suffix == ".tar" else write_zip)(path, other)
    assert fingerprint() != first


def test_a_fingerprint_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    write_folder(tmp_path, pictures("1.jpg", "2.jpg"))
    with ImageStore.open([tmp_path]) as store:
        one, other = pd.Series(["1.jpg", "2.jpg", "3.jpg"]), pd.Series(["3.jpg", "2.jpg", "1.jpg"])
        assert store.fingerprint(one, store.find(one)) == store.fingerprint(other, store.find(other))


def test_a_pipe_is_refused_before_anyone_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(DataError, match="neither a folder nor a regular file"):
        ImageStore.open([tmp_path / "pipe.zip"])


# What strangers put into containers.

UNSAFE_NAMES = {
    "../1.jpg": "climbs out",
    "a/../../1.jpg": "climbs out",
    "/etc/1.jpg": "absolute path",
    "C:/1.jpg": "absolute path",
    "c:1.jpg": "absolute path",
    "..\\1.jpg": "climbs out",
    "C:\\1.jpg": "absolute path",
    "a\n1.jpg": "control character",
    "\x7f1.jpg": "control character",
}


@pytest.mark.parametrize(("name", "reason"), UNSAFE_NAMES.items())
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_with_an_unsafe_name_is_left_out_and_counted(
    tmp_path: Path, name: str, reason: str, kind: str
) -> None:
    files = pictures(name, "safe/2.jpg")
    path = write_zip(tmp_path / "a.zip", files) if kind == "zip" else write_tar(tmp_path / "a.tar", files)
    results, skipped = read_all([path], ["1.jpg", "2.jpg"])
    assert statuses(results) == ["missing", "read"]
    assert len(skipped) == 1
    assert reason in skipped[0]


def test_a_nul_in_a_zip_name_does_not_shorten_it_into_another(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", pictures("1.jpgX.txt"))
    path.write_bytes(path.read_bytes().replace(b"1.jpgX", b"1.jpg\0"))
    results, skipped = read_all([path], ["1.jpg"])
    assert statuses(results) == ["missing"]
    assert skipped == []  # a .txt beside the pictures
    path = write_zip(tmp_path / "b.zip", pictures("1.jpgX2.jpg"))
    path.write_bytes(path.read_bytes().replace(b"1.jpgX", b"1.jpg\0"))
    assert "control character" in " ".join(read_all([path], ["1.jpg"])[1])


def test_a_tar_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", pictures("\udcff1.jpg", "2.jpg"))
    results, skipped = read_all([path], ["1.jpg", "2.jpg"])
    assert statuses(results) == ["missing", "read"]
    assert "not valid UTF-8" in skipped[0]
    skipped[0].encode()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "link to what the tar does not hold"),
        (tarfile.LNKTYPE, "link to what the tar does not hold"),
        (tarfile.CHRTYPE, "not a plain file"),
        (tarfile.BLKTYPE, "not a plain file"),
        (tarfile.FIFOTYPE, "not a plain file"),
    ],
)
def test_devices_in_a_tar_and_links_out_of_it_are_never_followed(
    tmp_path: Path, kind: bytes, reason: str
) -> None:
    odd = tarfile.TarInfo("1.jpg")
    odd.type, odd.linkname = kind, "/etc/passwd"
    path = write_tar(tmp_path / "a.tar", pictures("2.jpg"), members=[odd, odd])
    results, skipped = read_all([path], ["1.jpg", "2.jpg"])
    assert statuses(results) == ["missing", "read"]
    assert skipped[0] == f"a.tar: {reason}: 2 (first: 1.jpg)"


def test_a_symbolic_link_in_a_zip_is_left_out(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("1.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("2.jpg", picture("2.jpg"))
    results, skipped = read_all([tmp_path / "a.zip"], ["1.jpg", "2.jpg"])
    assert statuses(results) == ["missing", "read"]
    assert skipped == ["a.zip: symbolic link: 1 (first: 1.jpg)"]


@pytest.mark.parametrize("listed", [False, True])
def test_links_on_disk_may_not_lead_out_of_the_folder(tmp_path: Path, listed: bool) -> None:
    write_folder(tmp_path / "secret", pictures("1.jpg", "sub/2.jpg", "9.jpg"))
    root = write_folder(tmp_path / "images", pictures("3.jpg", "store/abc.bin", "here/6.jpg"))
    (root / "1.jpg").symlink_to(tmp_path / "secret/1.jpg")
    (root / "sub").symlink_to(tmp_path / "secret/sub")
    (root / "4.jpg").symlink_to("store/abc.bin")
    (root / "5.jpg").symlink_to("nowhere")
    (root / "loop").symlink_to(".")
    wanted = ["1.jpg", "sub/2.jpg", "3.jpg", "4.jpg", "5.jpg", "here/6.jpg"]
    if listed:  # base names that the folder does not have at its top make it list
        wanted = ["deep/1.jpg", "deep/2.jpg", "deep/3.jpg", "4.jpg", "5.jpg", "6.jpg"]
    results, skipped = read_all([root], wanted)
    assert statuses(results) == ["missing", "missing", "read", "read", "missing", "read"]
    assert results[3] == picture("store/abc.bin")
    notes = " ".join(skipped)
    assert "leads outside its folder; --follow-links opens it: 2 " in notes
    assert "leads nowhere: 1 (first: 5.jpg)" in notes


def test_a_link_bent_after_the_search_is_not_followed(tmp_path: Path) -> None:
    write_folder(tmp_path / "secret", pictures("1.jpg"))
    root = write_folder(tmp_path / "images", pictures("1.jpg"))
    with ImageStore.open([root]) as store:
        ref = store.find(pd.Series(["1.jpg"]))[0]
        (root / "1.jpg").unlink()
        (root / "1.jpg").symlink_to(tmp_path / "secret/1.jpg")
        result = store.read(ref)
    assert result == Failure("unreadable", "symbolic link leads outside its folder")


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    write_folder(tmp_path / "disk", pictures("sub/1.jpg"))
    write_zip(tmp_path / "blobs/4d5e6f", pictures("2.jpg"))
    (tmp_path / "images").symlink_to("disk")
    (tmp_path / "00.zip").symlink_to("blobs/4d5e6f")
    assert statuses(read_all([tmp_path / "images", tmp_path / "00.zip"], ["1.jpg", "2.jpg"])[0]) == [
        "read",
        "read",
    ]


def test_pipes_in_a_folder_are_counted_and_left_alone(tmp_path: Path) -> None:
    write_folder(tmp_path, pictures("sub/2.jpg"))
    os.mkfifo(tmp_path / "1.jpg")
    results, skipped = read_all([tmp_path], ["1.jpg", "2.jpg"])
    assert statuses(results) == ["missing", "read"]
    assert "not a regular file: 1 (first: 1.jpg)" in skipped[0]


def test_what_a_mac_leaves_behind_is_no_picture(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip", pictures("123.jpg", "__MACOSX/._123.jpg", ".DS_Store", "a/._123.jpg")
    )
    with ImageStore.open([path]) as store:
        assert store.everything()["image"].tolist() == ["123.jpg"]


def patch_directory(path: Path, offset: int, form: str, value: int) -> None:
    """Change one field of the first member in a zip's directory."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "form", "value", "reason"),
    [
        (8, "<H", 0x1, "encrypted"),
        (10, "<H", 9, "other than stored and deflate"),
        (24, "<I", 2**31, "larger than 256 MiB"),
        (20, "<I", 2**31, "larger than 256 MiB"),
        (20, "<I", 4000, "overlaps another"),
        (16, "<I", 12345, "checksum differs"),
        (24, "<I", 20, "checksum differs"),
        (42, "<I", 2**31, "overlaps another"),
    ],
)
def test_a_zip_member_whose_header_lies_is_unreadable_and_says_why(
    tmp_path: Path, offset: int, form: str, value: int, reason: str
) -> None:
    path = write_zip(tmp_path / "a.zip", pictures("1.jpg", "2.jpg", "3.jpg"))
    patch_directory(path, offset, form, value)
    results, _ = read_all([path], ["1.jpg", "2.jpg", "3.jpg"])
    first, *others = statuses(results)
    assert first.startswith("unreadable: ")
    assert reason in first
    assert others == ["read", "read"]


def test_a_zip_whose_directory_points_into_the_void_is_unreadable(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", pictures("1.jpg", "2.jpg"))
    path.write_bytes(b"XX" + path.read_bytes()[2:])
    results, _ = read_all([path], ["1.jpg", "2.jpg"])
    assert statuses(results) == [
        "unreadable: zip member: no member begins where the zip's directory says",
        "read",
    ]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_pack_are_refused(tmp_path: Path, method: int) -> None:
    results, skipped = read_all([write_zip(tmp_path / "a.zip", pictures("1.jpg"), method)], ["1.jpg"])
    assert statuses(results) == ["unreadable: zip member is packed by a method other than stored and deflate"]
    assert len(skipped) == 1


def test_a_zip_bomb_is_refused_by_its_ratio_and_a_blank_drawing_is_not(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip", {"1.jpg": bytes(5_000_000), "2.bmp": bytes(900_000)}, zipfile.ZIP_DEFLATED
    )
    assert statuses(read_all([path], ["1.jpg", "2.bmp"])[0]) == [
        "unreadable: zip member unpacks to more than 200 times its size",
        "read",
    ]


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_further_than_it_says(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"1.jpg": bytes(20_000_000)}, zipfile.ZIP_DEFLATED)
    patch_directory(path, 24, "<I", 1000)
    with ImageStore.open([path]) as store:
        ref = store.find(pd.Series(["1.jpg"]))[0]
        tracemalloc.start()
        result = store.read(ref)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert isinstance(result, Failure)
    assert peak < 2_000_000


def test_members_that_share_one_kernel_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", pictures("1.jpg", "2.jpg", "3.jpg"))
    patch_directory(path, 42, "<I", 30 + 5 + len(picture("2.jpg")))  # where the second member begins
    results, _ = read_all([path], ["1.jpg", "2.jpg", "3.jpg"])
    assert statuses(results) == ["unreadable: zip member overlaps another"] * 2 + ["read"]


@pytest.mark.parametrize("keep", [0, 1, 30, 200])
def test_a_truncated_zip_is_reported_and_its_neighbours_are_read(tmp_path: Path, keep: int) -> None:
    path = write_zip(tmp_path / "a.zip", pictures("1.jpg", "2.jpg"))
    path.write_bytes(path.read_bytes()[:keep])
    write_zip(tmp_path / "b.zip", pictures("3.jpg"))
    results, skipped = read_all([tmp_path], ["1.jpg", "3.jpg"])
    assert statuses(results) == ["missing", "read"]
    assert len(skipped) == 1
    assert skipped[0].startswith("a.zip: archive cannot be read")


@given(cut=st.integers(512, 11 * 512))
@settings(max_examples=40, deadline=None)
def test_a_truncated_tar_gives_the_members_before_the_break(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    names = [f"{number}.jpg" for number in range(5)]
    path = tmp_path_factory.mktemp("cut") / "a.tar"
    path.write_bytes(tar_bytes(pictures(*names))[:cut])
    results, skipped = read_all([path], names)
    # Each member is a header and one block of data that holds fewer bytes than a block.
    whole = sum(1024 * index + 512 + len(picture(name)) <= cut for index, name in enumerate(names))
    assert results[:whole] == [picture(name) for name in names[:whole]]
    assert statuses(results[whole:]) == ["missing"] * (5 - whole)
    assert skipped or cut >= 10 * 512 + 512


def test_a_damaged_header_in_a_tar_ends_it_with_a_note(tmp_path: Path) -> None:
    data = bytearray(tar_bytes(pictures("1.jpg", "2.jpg", "3.jpg")))
    data[1024 + 148] ^= 0xFF  # checksum of the second header
    (tmp_path / "a.tar").write_bytes(data)
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg", "2.jpg", "3.jpg"])
    assert statuses(results) == ["read", "missing", "missing"]
    assert "damaged header after 1 members" in skipped[0]


def with_size(header: bytes | bytearray, size: int) -> bytes:
    """A tar header with another size, in base 256, and a right checksum."""
    changed = bytearray(header)
    changed[124:136] = bytes([255 if size < 0 else 128]) + (size % 256**11).to_bytes(11, "big")
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


@pytest.mark.parametrize("size", [-1, -512, -1024, -(2**40), 2**40, 2**62, 2**80])
@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"g", b"S"])
def test_sizes_that_lead_backwards_or_nowhere_do_not_hang(tmp_path: Path, size: int, kind: bytes) -> None:
    data = tar_bytes(pictures("1.jpg", "2.jpg"))
    odd = bytearray(data[1024:1536])
    odd[156:157] = kind
    (tmp_path / "a.tar").write_bytes(data[:1024] + with_size(odd, size) + data[1536:])
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg", "2.jpg"])
    assert statuses(results) == ["read", "missing"]
    assert skipped


def test_a_chain_of_long_names_ends_in_a_note_and_not_in_a_crash(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("x").tobuf())
    header[156:157] = b"L"
    (tmp_path / "a.tar").write_bytes(with_size(header, 0) * 5000)
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg"])
    assert statuses(results) == ["missing"]
    assert skipped


def test_a_sparse_member_is_not_taken_for_its_bytes_on_disk(tmp_path: Path) -> None:
    member = tarfile.TarInfo("1.jpg")
    member.pax_headers = {
        "GNU.sparse.map": "0,4,1000,4",
        "GNU.sparse.size": "1004",
        "GNU.sparse.numblocks": "2",
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member.size = 8
        archive.addfile(member, io.BytesIO(b"abcdefgh"))
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    results, skipped = read_all([tmp_path / "a.tar"], ["1.jpg"])
    assert statuses(results) == ["missing"]
    assert "not a plain file" in skipped[0]


def test_a_gzip_bomb_is_unpacked_no_further_than_the_ratio_allows(tmp_path: Path) -> None:
    files = {"1.jpg": os.urandom(50_000), "2.jpg": bytes(60_000_000)}
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_bytes(files)))
    results, skipped = read_all([tmp_path / "a.tar.gz"], list(files))
    assert statuses(results) == ["read", "missing"]
    assert "unpacks to more than 200 times" in " ".join(skipped)


def test_a_gzipped_tar_over_the_limit_is_cut_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_module, "MAX_UNPACKED_BYTES", 100_000)
    files = {"1.jpg": os.urandom(50_000), "2.jpg": os.urandom(4_000_000)}
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_bytes(files)))
    results, skipped = read_all([tmp_path / "a.tar.gz"], list(files))
    assert statuses(results)[1] == "missing"
    assert "unpacked, the rest is not read" in " ".join(skipped)


def test_a_truncated_gzipped_tar_gives_what_lies_before_the_break(tmp_path: Path) -> None:
    files = {f"{number}.jpg": os.urandom(20_000) for number in range(10)}
    whole = gzip.compress(tar_bytes(files))
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    results, skipped = read_all([tmp_path / "a.tar.gz"], list(files))
    read = sum(isinstance(result, bytes) for result in results)
    assert read in (3, 4)
    assert results[:read] == list(files.values())[:read]
    assert "gzip breaks off" in " ".join(skipped)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar", ".zip", ".tgz"])
@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b\x08", gzip.compress(b"a,b\n1,2\n", mtime=0), b"<html>", bytes(10_240)]
)
def test_what_only_calls_itself_an_archive_is_noted(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    results, skipped = read_all([tmp_path], ["1.jpg"])
    assert statuses(results) == ["missing"]
    assert skipped == [f"a{suffix}: archive cannot be read: neither zip nor tar: 1"]


def test_a_store_stops_at_its_limit_of_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (store_module, folder_module, tar_module):
        monkeypatch.setattr(module, "MAX_MEMBERS", 5)
    names = [f"{number}.jpg" for number in range(9)]
    write_tar(tmp_path / "tar/a.tar", pictures(*names))
    write_tar(tmp_path / "tar/b.tar", pictures("b.jpg"))
    write_folder(tmp_path / "folder", pictures(*names))
    for root in ("tar", "folder"):
        results, skipped = read_all([tmp_path / root], ["not there.jpg"])
        assert statuses(results) == ["missing"]
        assert "more than 5" in " ".join(skipped)


def test_a_million_links_are_one_note(tmp_path: Path) -> None:
    links = []
    for number in range(300):
        member = tarfile.TarInfo(f"{number}.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "x"
        links.append(member)
    _, skipped = read_all([write_tar(tmp_path / "a.tar", {}, members=links)], ["1.jpg"])
    assert skipped == ["a.tar: link to what the tar does not hold: 300 (first: 0.jpg)"]


def test_reads_of_a_lying_header_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(5000))
    file = common_module.Parts([tmp_path / "x"]).open(longest_read=1000)
    assert len(file.read(1000)) == 1000
    for size in (1001, -1, -512):
        with pytest.raises(ValueError, match="declares"):
            file.read(size)
    with pytest.raises(OSError, match="points to"):
        file.seek(-1)
    file.close()


# Real files.


@pytest.mark.realdata
@pytest.mark.parametrize("layout", ["folder", "zip", "tar"])
def test_71_of_71_real_photos_decode_from_every_container(
    tmp_path: Path, real_data: Path, layout: str
) -> None:
    folder = real_data / "osv5m/images/test/00"
    files = {f"00/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.jpg"))}
    make: dict[str, Callable[[], Path]] = {
        "folder": lambda: folder,
        "zip": lambda: write_zip(tmp_path / "00.zip", files),
        "tar": lambda: write_tar(tmp_path / "00000.tar", files),
    }
    truth = pd.read_csv(real_data / "osv5m/test.csv", dtype={"id": str})
    results, skipped = read_all([make[layout]()], truth["id"].tolist())
    assert len(results) == 71
    assert skipped == []
    shapes = [
        decoded.shape
        for data in results
        if isinstance(data, bytes) and isinstance(decoded := decode(data), np.ndarray)
    ]
    assert len(shapes) == 71
