"""`python -m dukd_cache`: the command `dukd-cache`, for those who start it as a module."""

from dukd_cache.cli import main

main()
