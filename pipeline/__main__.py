"""`python -m pipeline` is the command line `stackgan`."""

from pipeline.cli import main

main()
