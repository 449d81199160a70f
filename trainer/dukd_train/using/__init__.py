"""What a finished student is for: larger images, and other programs.

Enters: a weights file. Leaves: images, or files that other software runs. Changes no weights.
"""
