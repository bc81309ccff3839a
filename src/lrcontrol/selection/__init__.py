"""Which method for which task."""
