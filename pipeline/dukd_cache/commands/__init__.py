"""What each command asks, one file a command: settings → rooms → text.

Enters: what a user asked for. Leaves: what is printed. Everything else happens below.
"""
