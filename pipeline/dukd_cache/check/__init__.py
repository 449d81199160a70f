"""Is a cache what was written, and how good is it? Verify, ask again, quality, equivariance, contact sheets.

Enters: a cache. Leaves: problems, numbers, pictures. Writes nothing into a cache, but for `verify.repair`.
"""
