"""Reading other people's files: what a cell says, which convention a file follows, what nested data holds.

`cells` reads one cell, `conventions` judges all of a file's coordinates together, `nested` turns JSON
and nested columns into the rows of a table, `answer_columns` finds the columns of an answer. Every
reader of the harness uses them, so that a file means the same wherever it is given.
"""
