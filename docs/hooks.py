"""What the site does beside Markdown: links from the documents to files of the repository lead to copies in the site.

So one relative link works in an editor, on a code host and in the site, whose pages know of no repository's address.
"""
from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
COPIES = "repository"
"""Folder of the site with the copies, at their paths in the repository."""
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")


def in_repository(page: str) -> str:
    """A page's path from the repository's root."""
    copy = page.removeprefix(f"{COPIES}/")
    return copy if copy != page else f"docs/{page}"


def in_site(path: str) -> str:
    """Where a file of the repository lies in the site."""
    inside = path.removeprefix("docs/")
    return inside if inside != path else f"{COPIES}/{path}"


def outside(markdown: str, page: str) -> Iterator[str]:
    """Paths, from the repository's root, of the files outside `docs` that a page links to."""
    for link in LINK.findall(markdown):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository(page)), link))
        if not path.startswith(("docs/", "..")) and (ROOT / path).is_file():
            yield path


def relinked(markdown: str, page: str) -> str:
    """The page with links as they are in the site; links to what is not there stay, for mkdocs to complain about."""

    def moved(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository(page)), match[1]))
        if path.startswith("..") or not (ROOT / path).is_file():
            return match[1]
        return posixpath.relpath(in_site(path), posixpath.dirname(page) or ".")

    return LINK.sub(moved, markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside `docs` that pages link to, and those that these link to."""
    found = [file for file in files if file.is_documentation_page()]
    while found:
        page = found.pop()
        for path in outside(page.content_string, page.src_uri):
            if files.get_file_from_path(in_site(path)) is None:
                copy = File.generated(config, in_site(path), abs_src_path=str(ROOT / path))
                files.append(copy)
                if copy.is_documentation_page():
                    found.append(copy)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the copies."""
    return relinked(markdown, page.file.src_uri)
