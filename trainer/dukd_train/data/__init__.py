"""Batches: which records a step reads, where they are kept, how they are augmented.

Enters: an open cache, and (seed, step). Leaves: batches of tensors. Never knows the student or the loss.
"""
