"""Which run next: records in, specs out."""
