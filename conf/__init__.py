"""The option files, one folder per group."""
