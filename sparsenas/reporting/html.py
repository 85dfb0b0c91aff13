"""Pieces of a page; every text of a user is escaped here."""

import base64
from collections.abc import Sequence
from html import escape

from sparsenas.texts import readable


def text(value: object) -> str:
    """Escape a text."""
    return escape(readable(str(value)))


def paragraph(value: str, kind: str = "") -> str:
    """Make a paragraph of a text."""
    return f"<p{_class(kind)}>{text(value)}</p>" if value else ""


def section(title: str, *parts: str) -> str:
    """Put parts below a title; nothing if all are empty."""
    body = "\n".join(filter(None, parts))
    return f"<section>\n<h2>{text(title)}</h2>\n{body}\n</section>" if body else ""


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[object]], kind: str = "") -> str:
    """Make a table whose first column names the rows; numbers are right-aligned by the style of the page.

    It scrolls by itself where it is wider than the page.
    """
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    body = "\n".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return scrolling(
        f"<table{_class(kind)}><caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>",
        caption,
    )


def pairs(caption: str, rows: Sequence[tuple[str, str]]) -> str:
    """Make a table of names and values."""
    body = "\n".join(f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows)
    return scrolling(f'<table class="pairs"><caption>{text(caption)}</caption>\n{body}\n</table>', caption)


def heat_map(caption: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Make a table of counts by row and column, each cell tinted by its share of the row."""
    head = "".join(f'<th scope="col"><span>{text(name)}</span></th>' for name in names)
    rows = []
    for number, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(sum(row), 1)
        cells = "".join(
            f'<td class="{"right" if number == column else "wrong"}" style="--share:{count / total:.3f}">{count}</td>'
            for column, count in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>')
    body = "\n".join(rows)
    return scrolling(
        f'<table class="heat"><caption>{text(caption)}</caption>\n<thead><tr><td></td>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table>",
        caption,
    )


def scrolling(content: str, label: str) -> str:
    """Let wide content scroll inside the page, also by the keyboard."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{text(label)}">\n{content}\n</div>'


def picture(png: bytes | None, alt: str, *captions: str) -> str:
    """Make a figure of a PNG file, with lines below it; nothing without one."""
    if png is None:
        return ""
    words = f"<figcaption>{'<br>'.join(map(text, captions))}</figcaption>" if captions else ""
    return f'<figure><img src="{inlined(png)}" alt="{text(alt)}">{words}</figure>'


def beside(*parts: str) -> str:
    """Put parts beside each other where there is room; nothing if all are empty."""
    return f'<div class="beside">\n{"".join(parts)}\n</div>' if any(parts) else ""


def inlined(png: bytes) -> str:
    """Format a PNG file as an address that needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
