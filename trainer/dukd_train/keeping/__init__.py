"""What a run keeps in its folder: settings, curve, scores, best weights, spare copies. Observers of the loop.

Enters: what the loop tells its observers. Leaves: files. Never changes what is trained.
"""
