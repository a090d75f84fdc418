"""The baseline of OpenStreetView-5M: a cell of a quadtree, and where in it.

Astruc et al.: OpenStreetView-5M: The Many Roads to Global Visual Geolocation. CVPR 2024. arXiv:2404.18873.
"""
