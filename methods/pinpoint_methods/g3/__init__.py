"""G3's retrieval alone: photos and coordinates in one space, without its multimodal language model.

Jia et al.: G3: An Effective and Adaptive Framework for Worldwide Geolocalization Using Large
Multi-Modality Models. NeurIPS 2024. arXiv:2405.14702.
"""
