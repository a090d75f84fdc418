"""StreetCLIP zero-shot: countries, then cities, by the similarity of photos and captions.

Haas, Alberti, Skreta: Learning Generalized Zero-Shot Learners for Open-Domain Image Geolocalization.
2023. arXiv:2302.00275.
"""
