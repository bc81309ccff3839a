"""What was asked, what happened, where it is kept, and what it cost."""
