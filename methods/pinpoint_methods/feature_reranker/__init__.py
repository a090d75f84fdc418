"""The nearest photos of each gallery, reranked by a small network over hand-made features.

Raw retrieval, and nothing learned but the ranking: no embedder, no towers, any backbone, any galleries.
What it gains over the nearest photo is what agreement among candidates is worth. Features, losses and
decoding are Pinpoint's.
"""
