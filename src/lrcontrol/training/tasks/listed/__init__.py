"""The tasks as data, one file per family, so that listing them imports no training library."""
