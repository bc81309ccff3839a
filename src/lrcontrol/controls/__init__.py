"""What the learning rate is next, given what has been seen; one file per control."""
