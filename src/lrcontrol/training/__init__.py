"""The one folder that imports torch: the training loop, tasks, and adapters for a user's own loop."""
