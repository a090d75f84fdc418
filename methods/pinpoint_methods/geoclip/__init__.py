"""GeoCLIP: photos and coordinates in one space, and the gallery coordinate most similar to a photo.

Vivanco Cepeda, Nayak, Shah: GeoCLIP. NeurIPS 2023. arXiv:2309.16020. The trained towers and the
gallery are read as data from the authors' package `geoclip`, whose code is not run.
"""
