"""Classification over cells that are small where there are many photos, and prototypes within them.

Weyand, Kostrikov, Philbin: PlaNet (arXiv:1602.05314), cells by count; Müller-Budack, Pustu-Iren,
Ewerth: ISNs (ECCV 2018), several partitions at once; Haas et al.: PIGEON (arXiv:2307.05845),
haversine-smoothed labels and prototypes.
"""
