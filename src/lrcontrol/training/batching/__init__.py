"""Several runs of a task at once: stacked numbers, one step for all of them, replayed without its Python."""
