"""Chipoint 2's retrieval: three towers with projection heads over one gallery, fused, without its reranker.

huggingface.co/chiikabu-labs/chipoint-2; the features of its reranker are not published.
"""
