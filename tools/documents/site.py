"""Build the site from the pages, so that it opens from files and nothing in it comes from elsewhere.

    python -m documents.site stage      puts build/docs together: pages, and what they link to
    python -m documents.site check      looks at build/site: every link leads somewhere, nothing comes from elsewhere

Between the two, Zensical builds build/site from build/docs (make docs). A link from a page to a file of the project,
such as a test, leads to a page with that file's text.
"""

from __future__ import annotations

import html.parser
import re
import shutil
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from documents.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
STAGED, SITE = BUILD / "docs", BUILD / "site"
# Pages outside of docs/, and where the site has them.
NAMES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "outputs/README.md": "outputs.md",
}
LINK = re.compile(r"(!?\[(?:[^\][]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LANGUAGES = {
    ".py": "python",
    ".sh": "sh",
    ".yaml": "yaml",
    ".ipynb": "json",
    ".json": "json",
    ".toml": "toml",
}


def site_name(path: str) -> str:
    """Return where the site has a file of the project, from the site's root."""
    if path in NAMES:
        return NAMES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"source/{path}.md"


class Stage:
    """Puts the pages and what they link to into one folder."""

    def __init__(self) -> None:
        self._linked: set[str] = set()

    def put_together(self) -> None:
        """Make build/docs anew."""
        shutil.rmtree(STAGED, ignore_errors=True)
        pages = [*NAMES, *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("**/*.md")))]
        for path in pages:
            self._write(site_name(path), self.rewritten(path, (ROOT / path).read_text(encoding="utf-8")))
        for path in sorted(self._linked - set(pages)):
            self._add(path)
        self._write("examples.md", examples_page())
        shutil.copy(ROOT / "docs" / "zensical.toml", BUILD)
        for name in ("iframe-worker.js", "site.css"):
            shutil.copy(ROOT / "docs" / name, STAGED)
        shutil.copytree(BUILD / "examples", STAGED / "examples")

    def rewritten(self, path: str, text: str) -> str:
        """Return a page whose links lead to where the site has their targets."""
        own = PurePosixPath(site_name(path)).parent
        codes: list[str] = []

        def hide(match: re.Match[str]) -> str:
            codes.append(match[0])
            return f"\0{len(codes) - 1}\0"

        def lead(match: re.Match[str]) -> str:
            target, hash_sign, anchor = match[2].partition("#")
            if not target or re.match(r"[a-z]+:", target):
                return match[0]
            found = (ROOT / path).parent.joinpath(target).resolve().relative_to(ROOT).as_posix()
            self._linked.add(found)
            return f"{match[1]}{_relative(site_name(found), own)}{hash_sign}{anchor}{match[3]}"

        text = LINK.sub(lead, CODE.sub(hide, text))
        return re.sub(r"\0(\d+)\0", lambda match: codes[int(match[1])], text)

    def _add(self, path: str) -> None:
        """Add what a page links to: a picture or a page as it is, anything else as a page with its text."""
        source = ROOT / path
        if path.startswith("docs/"):
            (STAGED / site_name(path)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, STAGED / site_name(path))
        elif source.is_dir():
            names = "".join(f"- `{child.name}`\n" for child in sorted(source.iterdir()))
            self._write(site_name(path), f"# {path}\n\n{names}")
        else:
            text, language = source.read_text(encoding="utf-8"), LANGUAGES.get(source.suffix, "text")
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            self._write(site_name(path), f"# {path}\n\n{fence}{language}\n{text}\n{fence}\n")

    @staticmethod
    def _write(name: str, text: str) -> None:
        (STAGED / name).parent.mkdir(parents=True, exist_ok=True)
        (STAGED / name).write_text(text, encoding="utf-8")


def _relative(target: str, folder: PurePosixPath) -> str:
    ups = [".."] * len(folder.parts)
    return "/".join((*ups, target))


def examples_page() -> str:
    """Return the page that lists the executed examples."""
    rows = "".join(f"| [{e.title}](examples/{e.name}.html) | {e.text} |\n" for e in EXAMPLES)
    return (
        "# Executed examples\n\nMade by `make docs`, in one go, on rehearsal clusters: each is the page of a sealed "
        "record (the last one is a notebook alone), and opens without a network.\n\n"
        f"| run | what to look at |\n|---|---|\n{rows}"
    )


# The attribute by which an element loads something.
LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


class _Page(html.parser.HTMLParser):
    """Collects what a page links to, what it loads, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if LOADS.get(tag, "") in given and given.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(given[LOADS[tag]])


def faults(site: Path) -> Iterator[str]:
    """Yield a sentence for each link that leads nowhere, and for each thing that comes from elsewhere."""
    read: dict[Path, _Page] = {}
    for path in sorted(site.glob("**/*.html")):
        read[path] = page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    for path, page in read.items():
        name = path.relative_to(site)
        yield from (f"{name}: loads {url}" for url in page.loaded if re.match(r"(https?:)?//", url))
        if path.parent.name == "examples" or name.name == "404.html":
            continue  # pages of records, whose tests check them; a page that is shown at any address
        for link in (*page.links, *page.loaded):
            if link.startswith(("//", "http:", "https:", "data:", "mailto:", "javascript:")):
                continue
            target, _, anchor = urllib.parse.unquote(link).partition("#")
            found = (path.parent / target.partition("?")[0]).resolve() if target else path
            found = found / "index.html" if found.is_dir() else found
            if not found.exists():
                yield f"{name}: {link} leads nowhere"
            elif anchor and found in read and anchor not in read[found].anchors:
                yield f"{name}: {link} has no such place there"
    for path in sorted(site.glob("**/*.css")):
        for url in re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)", path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {url}"


def main(words: list[str]) -> int:
    """Put the pages together, or check the site; return the exit code."""
    if words == ["stage"]:
        Stage().put_together()
        return 0
    found = sorted(set(faults(SITE)))
    sys.stdout.write("".join(f"{fault}\n" for fault in found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
