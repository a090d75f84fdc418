"""Mini-Earth: a procedural Earth whose pictures depend on where they are taken.

`geography` holds real cities and their land, `draws` and `world` decide by integer arithmetic who
photographs what and where, `drawing` draws it, `splits` divides it, `archive` writes it as ordinary
tables and zips, `datasets` reads those, `backbone` turns pictures into features.
"""
