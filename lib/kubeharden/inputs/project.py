"""Where the project's own folders are: notebooks/, parameters/, outputs/."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, of Linux (NAME_MAX, PATH_MAX)
NOTEBOOKS = Path("notebooks")
POLICIES = Path("parameters") / "pod-security.yaml"
SHARE = "share/kubeharden/"  # where an installation has what pyproject.toml calls data-files


def project_folder() -> Path:
    """Return the checkout that the working folder lies in, else the one that this package was installed from."""
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if (folder / POLICIES).is_file():
            return folder
    return here


def shipped_files() -> dict[str, Path]:
    """Return what the package brings for people to work with: notebooks, policies and an example of an inventory.

    Returns:
        by its path in a project, such as ``notebooks/harden.ipynb``, where it is: in the checkout, else as installed.
    """
    for folder in Path(__file__).resolve().parents:
        if (folder / POLICIES).is_file():
            patterns = ("notebooks/[!o]*.ipynb", "parameters/*.example.yaml", str(POLICIES))
            return {
                str(p.relative_to(folder)): p for pattern in patterns for p in sorted(folder.glob(pattern))
            }
    files = distribution("kubeharden").files or ()
    return {
        str(file).rpartition(SHARE)[2]: Path(str(file.locate())).resolve()
        for file in files
        if SHARE in str(file)
    }


def runs_folder(text: str = "") -> Path:
    """Return the folder of runs: the one given, else the project's ``outputs/``."""
    return Path(text).expanduser() if text else project_folder() / "outputs"


def notebooks() -> dict[str, Path]:
    """Return the notebooks that are shipped, by their names without ``.ipynb``."""
    files = {Path(name): path for name, path in shipped_files().items()}
    return {name.stem: path for name, path in files.items() if name.suffix == ".ipynb"}


def find(text: str) -> Path:
    """Return a path that a parameter names: relative to the working folder, else to the project."""
    path = Path(text).expanduser()
    if path.is_absolute() or path.exists():
        return path
    return project_folder() / path if (project_folder() / path).exists() else path


def wrong_path(text: str) -> str:
    """Return why a text cannot be a path, as a part of a sentence; empty where it can."""
    try:
        data = text.encode("utf-8")
        if any(char < " " or char == "\x7f" for char in text):
            return "has a control character in it"
        if len(data) > LONGEST_PATH or any(len(part) > LONGEST_NAME for part in data.split(b"/")):
            return "is too long"
        Path(text).expanduser()
    except UnicodeEncodeError:
        return "has a character in it that no file system has"
    except RuntimeError:
        return "names a home folder that nobody has"
    return ""
