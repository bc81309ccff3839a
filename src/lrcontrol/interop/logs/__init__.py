"""Gradient logs read from whatever people have, damaged or not.

`read.gradient_log` tells by its content what a file is. `text` opens, unpacks and decodes it; `rows_csv`, `rows_json`
and `documents` read text, `frames` and `events` the files of TensorBoard; `names` knows which column is which; all of
them make a `Table` of rows in the order of the file, and `joined` makes the log of one run of it.
"""
