"""The field's named schedules, each a few lines over the one algebra."""
