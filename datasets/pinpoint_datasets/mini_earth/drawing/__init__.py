"""How a place of mini-Earth is drawn.

`attributes` says what a picture shows, `appearance` derives that from the place, `palette`, `shapes` and
`canvas` are what `scene` draws it with.
"""
