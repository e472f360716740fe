#!/nowhere/python3
"""Names an interpreter that does not exist."""
