"""Before the package of that name on sys.path, so that jsonschema does without it.

jsonschema checks IRIs with it, which nothing here has, and its grammars cost each process that imports nbformat
1.5 seconds of CPU.
"""

raise ImportError("the tests do without")
