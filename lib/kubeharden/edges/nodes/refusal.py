"""The reason why a script did not run on a node, in words. Pure."""


def refusal(node: str, user: str, status: int, said: str) -> str:
    """Return why a script ended with an error.

    Args:
        node: where.
        user: who is logged in there.
        status: of the script, or of sudo.
        said: what it complained of, without secrets.
    """
    if "sudo" in said or "password is required" in said:
        return (
            f"{node}: {user} may not become root there: {said}. Give {user} sudo on the node, or say "
            "sudo: password in the inventory"
        )
    return f"{node}: the script ended with status {status}: {said or 'without a word'}"
