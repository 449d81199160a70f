"""Images and settings → which squares of which images are asked about. Pure, but for the headers it reads.

Enters: image files. Leaves: crops, and the pixels that each view makes of them. Never asks a network, never writes.
"""
