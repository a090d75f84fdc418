"""What a query set and a gallery share: photographers, ids, bytes, near-duplicates, placeholders.

`inspection` looks, `content`, `likeness` and `perceptual` are what it looks with, `table` is what it
leaves on disk, `effect` says what leaks are worth to a run. Reading an audit costs no torch, so
nothing is imported here.
"""
