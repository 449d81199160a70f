"""`python -m dukd_train`: the command `dukd-train`, for launchers like torchrun that want a module."""

from dukd_train.cli import main

main()
