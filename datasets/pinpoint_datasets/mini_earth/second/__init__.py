"""Generator version 2: real places of every size, the roads between them, and pictures that say little alone.

`geography` reads the places and the land (`build_places` made both), `world` decides who photographs what
and where, `appearance` how it looks. Drawing, splits, files and backbone are those of version 1.
"""
