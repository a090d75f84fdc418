"""Pinpoint, re-implemented: retrieve across sources with one shared embedder.

`config` holds every choice with its reason, `variants` the presets of the registered methods; `towers` and
`sigmoid_loss` are the model; `splits`, `embedder` and `gallery` make the stages; `method` answers with
them.
"""
