"""How good a network's answers are, and how it is asked for them.

Enters: a network and image files. Leaves: answers and scores. Never knows how the network was trained.
"""
