"""Pictures and tables of results. Each module is imported where it is needed: matplotlib is slow to load."""
