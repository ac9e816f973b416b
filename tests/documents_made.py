"""Documents of every kind, made by hand."""

from __future__ import annotations

import io
import zipfile
from xml.sax.saxutils import escape

from pypdf import PdfReader, PdfWriter

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf(*pages: str, kids: str | None = None, extra: str = "") -> bytes:
    """One line of Helvetica a page; a page without text has none. `kids` replaces the list of pages."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    numbers = []
    for text in pages:
        line = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        stream = f"BT /F 12 Tf 20 700 Td ({line}) Tj ET" if text else ""
        objects.append(f"<</Length {len(stream)}>> stream\n{stream}\nendstream")
        content = len(objects)
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {content} 0 R/Resources<</Font<</F 3 0 R>>>>>>"
        )
        numbers.append(len(objects))
    listed = kids if kids is not None else " ".join(f"{number} 0 R" for number in numbers)
    objects[1] = f"<</Type/Pages/Kids[{listed}]/Count {len(numbers)}{extra}>>"
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += f"trailer <</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def encrypted(data: bytes, password: str) -> bytes:
    writer, into = PdfWriter(), io.BytesIO()
    writer.append(PdfReader(io.BytesIO(data)))
    writer.encrypt(password, owner_password="owner", algorithm="AES-256")
    writer.write(into)
    return into.getvalue()


def paragraph(text: str, style: str = "", run: str = "") -> str:
    styled = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{styled}<w:r>{run}<w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def docx(*paragraphs: str, title: str = "", parts: dict[str, bytes] | None = None, prolog: str = "") -> bytes:
    """`paragraphs` are XML; see `paragraph`. `parts` are further files of the archive."""
    body = f'{prolog}<w:document xmlns:w="{W}"><w:body>{"".join(paragraphs)}</w:body></w:document>'
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        if title:
            core = f'<c xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{escape(title)}</dc:title></c>'
            archive.writestr("docProps/core.xml", core)
        archive.writestr("word/document.xml", body)
        for name, data in (parts or {}).items():
            archive.writestr(name, data)
    return into.getvalue()
