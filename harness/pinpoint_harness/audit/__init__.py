"""What a query set and a gallery share: photographers, ids, bytes, near-duplicates, placeholders.

`audit` looks, `identical`, `near_duplicates` and `perceptual` are what it looks with, `result` is what it
leaves on disk, `effect` says what leaks are worth to a run. Reading an audit costs no torch, so
nothing is imported here.
"""
