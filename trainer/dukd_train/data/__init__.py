"""Batches: which records a step reads, where they are kept, how they are augmented."""
