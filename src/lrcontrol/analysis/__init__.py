"""What the records say: records in, numbers out."""
