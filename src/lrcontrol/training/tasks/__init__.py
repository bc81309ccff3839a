"""Tasks on real data, one file per family; `catalogue` lists them without importing torch."""
