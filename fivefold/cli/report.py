"""A web page in one file: pictures with their heat maps, scores and p-values, the strangest first."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, BinaryIO

from fivefold.images import Image

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border-bottom: 1px solid #ccc; padding: .4em .8em; text-align: left; }}
td.number {{ font-variant-numeric: tabular-nums; text-align: right; }}
img {{ height: 84px; image-rendering: pixelated; margin-right: 4px; vertical-align: middle; }}
tr.anomalous {{ background: #fde8e4; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #181818; color: #ddd; }} tr.anomalous {{ background: #4a201a; }}
}}
</style></head><body>
<h1>{title}</h1>
<p><strong>{anomalous} of {total}</strong> are anomalous. {facts}.</p>
<p>The p-value is the share of held-out normal data that are at least as strange; an input whose p-value is not
above alpha is called anomalous. The heat map shows each pixel's surprise: black is none, white is that of noise.</p>
<table>
<thead><tr><th>picture, heat map</th><th>input</th><th>score (nats)</th><th>p-value</th><th>verdict</th></tr></thead>
<tbody>
"""
END = "</tbody></table></body></html>\n"


@dataclass(frozen=True)
class Entry:
    """One input of the report: what was found, or why nothing was."""

    name: str
    pictures: tuple[Image, ...] = ()
    score_nats: float = 0.0
    p_value: float = 2.0  # after every other
    anomalous: bool = False
    error: str | None = None

    @property
    def html(self) -> str:
        shown = "".join(f'<img alt="" src="{_inline(picture)}">' for picture in self.pictures)
        start = f"<tr{' class=anomalous' if self.anomalous else ''}><td>{shown}</td><td>{escape(self.name)}</td>"
        if self.error is not None:
            return f"{start}<td colspan=3>{escape(self.error)}</td></tr>\n"
        numbers = f"<td class=number>{self.score_nats:.2f}</td><td class=number>{self.p_value:.4f}</td>"
        return f"{start}{numbers}<td>{'anomalous' if self.anomalous else 'normal'}</td></tr>\n"


class Report:
    """Entries in any order and number: they wait in the temporary file `rows`, only their places in memory."""

    def __init__(self, rows: BinaryIO) -> None:
        self.anomalous = self.total = 0
        self._rows = rows
        self._places: list[tuple[float, float, int, int]] = []  # p-value, minus the score, start, length

    def add(self, entry: Entry) -> None:
        row = entry.html.encode()
        self._places.append((entry.p_value, -entry.score_nats, self._rows.tell(), len(row)))
        self._rows.write(row)
        self.total += 1
        self.anomalous += entry.anomalous

    def write(self, path: Path, title: str, facts: Mapping[str, Any]) -> None:
        """The whole page, the smallest p-value first and among equals the highest score."""
        told = escape(", ".join(f"{name}: {value}" for name, value in facts.items()))
        head = PAGE.format(title=escape(title), anomalous=self.anomalous, total=self.total, facts=told)
        with path.open("wb") as page:
            page.write(head.encode())
            page.writelines(self._sorted())
            page.write(END.encode())

    def _sorted(self) -> Iterator[bytes]:
        for _, _, start, length in sorted(self._places):
            self._rows.seek(start)
            yield self._rows.read(length)


def _inline(picture: Image) -> str:
    """The file itself as a data URL; its first bytes tell a browser the format."""
    return f"data:image;base64,{base64.b64encode(picture.data).decode('ascii')}"
