"""Checks that each link of a built site leads to a file and an anchor of it: site.py FOLDER"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        self.links.update({attributes.get("href"), attributes.get("src")} - {None, ""})


root = Path(sys.argv[1]).resolve()
# These two have links relative to other places.
pages = {path: Page(path.read_text()) for path in root.rglob("*.html") if path.name not in ("404.html", "toc.html")}
wrong = []
for path, page in pages.items():
    if path.name == "print.html":
        continue
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_file():
            wrong.append(f"{path.relative_to(root)}: {link} is not there")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            wrong.append(f"{path.relative_to(root)}: {link} has no such anchor")
print(f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links")
sys.exit("\n".join(sorted(wrong)) or 0)
