"""Files of the same bytes in two parts, or of two classes, as lines of a report."""

from collections.abc import Sequence

from sparsenas.data.labels import label_names
from sparsenas.data.sources import ImageSource, PartName
from sparsenas.data.split import Codes, PartCode
from sparsenas.texts import readable

#: One of the copies: its part, its class or classes, its name.
_Copy = tuple[str, str, str]


def copies_told(source: ImageSource, codes: Codes) -> list[str]:
    """Warn of images that are in two parts, where they make figures too good, or of two classes; a line each.

    Args:
        source: The images.
        codes: Part of each image of the source's training part, shape ``(N,)``.
    """
    found = source.duplicates()
    if not found:
        return []
    names: dict[PartName, Sequence[str]] = {part: source.names(part) for part in {p for same in found for p, _ in same}}

    def described(part: PartName, index: int) -> _Copy:
        code = codes[index] if part == "train" else None
        own = part if code is None or code < PartCode.VAL else PartCode(code).name.lower()  # both streams train
        return own, label_names(source.labels(part)[index], source.class_names), readable(names[part][index])

    copies = [[described(*place) for place in same] for same in found]
    kind = "sets of labels" if source.multilabel else "classes"
    return [*_warning(copies, 0, "parts"), *_warning(copies, 1, kind)]


def _warning(copies: list[list[_Copy]], field: int, kind: str) -> list[str]:
    """Warn of copies that differ in a field."""
    differing = [same for same in copies if len({copy[field] for copy in same}) > 1]
    if not differing:
        return []
    first = differing[0][0]
    other = next(copy for copy in differing[0] if copy[field] != first[field])
    one, two = (f"{copy[2]} ({copy[field] or 'none'})" for copy in (first, other))
    return [f"warning: {len(differing)} images are in files of two {kind}, byte by byte, such as {one} and {two}"]
