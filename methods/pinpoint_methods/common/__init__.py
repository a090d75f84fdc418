"""What several methods need: galleries, heads and how they are trained, candidate lists, decoding, cities."""
