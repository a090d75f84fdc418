"""What is on disk, and how it survives a kill: keys, shards, manifests, logs of sessions, selections."""

from __future__ import annotations

from .artifact import Artifact, library_versions, safe_name, spec_key
from .files import (
    Content,
    append_line,
    canonical_json,
    check_writable,
    file_sha256,
    read_json,
    write_atomic,
    write_new,
)
from .finished import finished_folders, was_finished
from .integrity import KEY_LENGTH, check_files, damaged_files, own_sha256, read_manifest, undisturbed
from .listed_folder import listed_files, new_folder
from .selection import Selection, Subset
from .session_log import Session, damaged_log, finishing_order, read_log

__all__ = [
    "KEY_LENGTH",
    "Artifact",
    "Content",
    "Selection",
    "Session",
    "Subset",
    "append_line",
    "canonical_json",
    "check_files",
    "check_writable",
    "damaged_files",
    "damaged_log",
    "file_sha256",
    "finished_folders",
    "finishing_order",
    "library_versions",
    "listed_files",
    "new_folder",
    "own_sha256",
    "read_json",
    "read_log",
    "read_manifest",
    "safe_name",
    "spec_key",
    "undisturbed",
    "was_finished",
    "write_atomic",
    "write_new",
]
