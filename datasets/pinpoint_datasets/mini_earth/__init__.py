"""Mini-Earth: a procedural Earth whose pictures depend on where they are taken.

`geography` holds real cities and their land, `draws` and `world` decide by integer arithmetic who
photographs what and where, `attributes` says what a place looks like, `scene` draws it, `splits`
divides it, `files` writes it as ordinary tables and zips, `backbone` turns pictures into features.
"""
