"""Tables, charts, one page: numbers come in, pages go out."""
