"""The learning rate as a function of progress: profiles, the algebra that joins them, and the field's recipes."""
