"""What is on disk, and how it survives a kill: keys, shards, manifests, logs of sessions, selections."""

from __future__ import annotations

from .artifact import (
    KEY_LENGTH,
    Artifact,
    Content,
    UnfinishedError,
    append_line,
    canonical_json,
    check_writable,
    damaged_files,
    file_sha256,
    library_versions,
    read_json,
    safe_name,
    spec_key,
    write_atomic,
    write_new,
)
from .selection import Selection, Subset, id_list_sha256
from .session_log import Session

__all__ = [
    "KEY_LENGTH",
    "Artifact",
    "Content",
    "Selection",
    "Session",
    "Subset",
    "UnfinishedError",
    "append_line",
    "canonical_json",
    "check_writable",
    "damaged_files",
    "file_sha256",
    "id_list_sha256",
    "library_versions",
    "read_json",
    "safe_name",
    "spec_key",
    "write_atomic",
    "write_new",
]
