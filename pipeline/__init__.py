"""The data pipeline: one module per stage, over the library `stackgan`. Disk, network, DVC and terminal live here."""
