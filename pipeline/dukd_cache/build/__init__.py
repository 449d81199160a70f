"""Crops → answers → shards. The only room that asks a teacher and writes shards.

Enters: a plan, a header, a teacher. Leaves: a finished cache, or whole shards of one. Never chooses settings.
"""
