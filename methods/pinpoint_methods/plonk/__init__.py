"""PLONK: a place drawn at random flows over the sphere to where the photo was taken.

Dufour, Kalogeiton, Picard, Landrieu: Around the World in 80 Timesteps: A Generative Approach to Global
Visual Geolocation. CVPR 2025. arXiv:2412.06781.
"""
