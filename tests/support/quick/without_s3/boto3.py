"""Before the package of that name on sys.path, so that papermill does without it, as for who has not installed it.

It costs each process that imports papermill a tenth of a second.
"""

raise ImportError("this test does without")
