"""What the store is made of: how its rows are laid out, how writers take turns, what is wrong with a damaged one."""
