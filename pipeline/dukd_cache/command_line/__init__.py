"""How a command reads its words and ends: one line for a mistake, an exit code. For both commands.

Enters: the words of a command. Leaves: paths, addresses, an exit code. Never knows what a command does.
"""
