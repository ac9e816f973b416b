"""Documents as people have them, and as nobody should send them; each is read in a real child process."""

from __future__ import annotations

import io
import os
import zipfile
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from services.rag.extraction import Extracted, ReadLimits, extract
from services.rag.sections import Mark
from shared.errors import DocumentUnreadable, UnsupportedMedia
from tests.documents_made import docx, encrypted, paragraph, pdf


def codes(found: Extracted) -> list[str]:
    return [each.code for each in found.facts.warnings]


async def test_plain_text_stays_as_it_is() -> None:
    found = await extract(b"First line.\r\nSecond line.\n")
    assert (found.text, found.facts.kind, codes(found)) == ("First line.\nSecond line.\n", "txt", [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
async def test_unicode_is_known_by_its_mark_or_its_bytes(encoding: str) -> None:
    found = await extract("Grüße aus Łódź, 東京.".encode(encoding))
    assert found.text == "Grüße aus Łódź, 東京." and codes(found) == []


async def test_an_old_encoding_is_guessed_and_the_guess_is_told() -> None:
    told = "Die Straße führt über den Fluß, an den Häusern der Müller vorbei, bis zum schönen Grünstück. " * 5
    found = await extract(told.encode("latin-1"))
    assert found.text == told and codes(found) == ["encoding_guessed"]


async def test_one_broken_byte_does_not_change_the_encoding_of_all() -> None:
    found = await extract("Grüße aus Köln. ".encode() * 200 + b"\xff" + b" Ende.")
    assert found.text.startswith("Grüße aus Köln.") and codes(found) == ["encoding_damaged"]


async def test_markdown_has_headings_and_code_is_none() -> None:
    found = await extract(b"# Plan\n\nWe go.\n\n```\n# no heading\n```\n## When\nAt noon.\n")
    assert found.facts.kind == "md" and found.facts.title == "Plan"
    assert [mark.heading for mark in found.marks] == ["Plan", "When"]
    assert all(found.text[mark.offset :].startswith("#") for mark in found.marks)


async def test_a_page_is_read_as_it_is_seen() -> None:
    page = """<!-- made --><!DOCTYPE html><html><head><title> My  page </title><style>p{}</style></head><body>
    <script>steal()</script><h1>Head</h1><p hidden>unseen one<p>Seen <b>words</b>.
    <div style="color:red; DISPLAY : none">unseen two</div><span style="font-size:0">unseen three</span>
    <pre>a   b</pre><table><tr><td>1</td><td>2</td></tr></table><noscript>unseen four</noscript></body>"""
    found = await extract(page.encode())
    assert found.facts.kind == "html" and found.facts.title == "My page"
    assert "Seen words." in found.text and "a   b" in found.text and "1\t2" in found.text
    assert "unseen" not in found.text and "steal" not in found.text
    assert [mark.heading for mark in found.marks] == ["Head"]


async def test_a_page_names_its_encoding() -> None:
    found = await extract('<html><meta charset="iso-8859-2"><body>Łódź</body>'.encode("iso-8859-2"))
    assert found.text.strip() == "Łódź" and codes(found) == []


async def test_a_pdf_has_pages() -> None:
    found = await extract(pdf("First page.", "Second page."))
    assert found.facts.kind == "pdf" and found.facts.pages == 2
    assert found.marks == [Mark(0, 1), Mark(found.text.index("Second"), 2)]


async def test_a_scanned_pdf_says_so() -> None:
    found = await extract(pdf("", ""))
    assert codes(found) == ["scanned"] and found.text.strip() == "" and found.facts.pages == 2
    assert codes(await extract(pdf("Words.", ""))) == ["pages_without_text"]


async def test_a_pdf_behind_a_password_is_refused_and_one_without_is_read() -> None:
    with pytest.raises(DocumentUnreadable, match="password"):
        await extract(encrypted(pdf("Secret."), "hunter2"))
    assert "Open" in (await extract(encrypted(pdf("Open."), ""))).text


async def test_a_docx_has_paragraphs_headings_and_a_title() -> None:
    told = docx(paragraph("Plan", "Heading1"), paragraph("We go & stay."), title="The plan")
    found = await extract(told)
    assert found.facts.kind == "docx" and found.facts.title == "The plan"
    assert found.text == "Plan\nWe go & stay.\n" and found.marks == [Mark(0, None, "Plan")]


async def test_what_a_docx_hides_or_deleted_is_not_read() -> None:
    hidden = paragraph("hidden words", run="<w:rPr><w:vanish/></w:rPr>")
    shown = paragraph("shown words", run='<w:rPr><w:vanish w:val="0"/></w:rPr>')
    deleted = "<w:p><w:del><w:r><w:delText>deleted words</w:delText></w:r></w:del></w:p>"
    found = await extract(docx(hidden, shown, deleted))
    assert found.text.strip() == "shown words"


def message(**headers: str) -> EmailMessage:
    made = EmailMessage()
    for name, value in ({"From": "Ann <ann@example.org>", "To": "ben@example.org"} | headers).items():
        made[name] = value
    return made


async def test_a_mail_says_who_when_and_what_and_names_its_attachments() -> None:
    made = message(Subject="Grüße", Date="Thu, 1 Jan 2026 10:00:00 +0200")
    made.set_content("The plain words.")
    made.add_alternative("<p>The <b>rich</b> words.</p>", subtype="html")
    made.add_attachment(b"%PDF-1.4 secret", maintype="application", subtype="pdf", filename="böse.pdf")
    found = await extract(made.as_bytes(policy=SMTP))
    facts = found.facts
    assert (facts.kind, facts.title, facts.attachments) == ("eml", "Grüße", ["böse.pdf"])
    assert facts.occurred_at is not None and facts.occurred_at.isoformat() == "2026-01-01T08:00:00+00:00"
    assert "From: Ann <ann@example.org>" in found.text and "The plain words." in found.text
    assert "rich" not in found.text and "secret" not in found.text and codes(found) == ["attachments"]


async def test_a_mail_of_html_alone_is_read_as_a_page() -> None:
    made = message(Subject="x")
    made.set_content("<p hidden>unseen</p><p>Seen.</p>", subtype="html")
    found = await extract(made.as_bytes())
    assert "Seen." in found.text and "unseen" not in found.text


async def test_names_do_not_matter_and_content_does() -> None:
    assert (await extract(b"<html><body>x</body></html>")).facts.kind == "html"
    assert (await extract(b"Note: this is no mail.\nIt has: colons.\n")).facts.kind == "txt"


# -- what nobody should send


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture"),
        (b"\x7fELF" + bytes(100), "program"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "docx"),
        (b"words\x00and\x00nulls", "binary"),
        (bytes(10_000), "binary"),
        (b"OggS" + bytes(50), "recordings"),
    ],
)
async def test_other_kinds_of_files_are_refused_by_name(data: bytes, what: str) -> None:
    with pytest.raises(UnsupportedMedia, match=what):
        await extract(data)


async def test_an_archive_that_is_no_docx_is_refused() -> None:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("../../etc/passwd", "root")
    with pytest.raises(UnsupportedMedia, match="archive"):
        await extract(into.getvalue())


WHOLE = docx(*(paragraph(f"Paragraph {n}.") for n in range(200)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7\n",
        b"%PDF-1.7\n" + os.urandom(5_000),
        b"PK\x03\x04" + bytes(500),
        WHOLE[: len(WHOLE) // 2],
        WHOLE.replace(b"word/document.xml", b"word/document.xmI"),
        docx("<w:p><w:r>", "</w:wrong>"),
    ],
    ids=["empty", "pdf head", "pdf noise", "zip head", "zip cut", "zip names differ", "xml wrong"],
)
async def test_damage_is_an_error_that_says_so(data: bytes) -> None:
    with pytest.raises((DocumentUnreadable, UnsupportedMedia)) as raised:
        await extract(data)
    assert raised.value.detail.endswith(".") and "Traceback" not in raised.value.detail


async def test_random_bytes_never_do_anything_else() -> None:
    for begin in (b"%PDF-1.4\n", b"From: a\nTo: b\n\n", b"<html>", b"# x\n"):
        try:
            await extract(begin + os.urandom(20_000))
        except (DocumentUnreadable, UnsupportedMedia) as error:
            assert error.status in (415, 422)


async def test_a_zip_bomb_is_stopped_while_it_unpacks() -> None:
    bomb = docx(paragraph("a" * 40_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(DocumentUnreadable, match="unpacks"):
        await extract(bomb)


async def test_many_parts_are_bounded_together() -> None:
    noise = os.urandom(3_000_000).hex().encode()
    parts = dict.fromkeys(("word/footnotes.xml", "word/endnotes.xml"), b"<a>" + noise + b"</a>")
    with pytest.raises(DocumentUnreadable, match="unpacks"):
        await extract(docx(paragraph("x"), parts=parts), ReadLimits(unpacked_bytes=8_000_000))


async def test_entities_are_never_expanded() -> None:
    lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    with pytest.raises(DocumentUnreadable, match="entities"):
        await extract(docx(paragraph("x").replace(">x<", ">&l9;<"), prolog=f"<!DOCTYPE d [{lines}]>"))
    outside = '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    with pytest.raises(DocumentUnreadable, match="entities"):
        await extract(docx(paragraph("x").replace(">x<", ">&x;<"), prolog=outside))


async def test_a_pdf_whose_pages_are_their_own_parents_ends() -> None:
    for kids in ("2 0 R", "2 0 R " * 1000):
        try:
            found = await extract(pdf("Words.", kids=kids))
            assert found.text.strip() == ""
        except DocumentUnreadable as error:
            assert "damaged" in error.detail or "time or memory" in error.detail


async def test_more_pages_than_allowed_are_left_out_and_it_is_said() -> None:
    found = await extract(pdf(*(f"Page number {n}." for n in range(1, 31))), ReadLimits(most_pages=7))
    assert found.facts.pages == 30 and "number 7." in found.text and "number 8." not in found.text
    assert codes(found) == ["cut"] and "first 7 of 30" in found.facts.warnings[0].detail


async def test_a_claimed_page_count_is_not_believed() -> None:
    found = await extract(pdf("One.").replace(b"/Count 1", b"/Count 9999999999"))
    assert found.facts.pages == 1 and "One." in found.text


async def test_more_text_than_allowed_is_cut_and_it_is_said() -> None:
    for data in (b"word " * 1000, b"# H\n" + b"word " * 1000, b"<html><body>" + b"word " * 1000, pdf("word " * 300)):
        found = await extract(data, ReadLimits(most_chars=100))
        assert len(found.text) == 100 and "cut" in codes(found)


async def test_a_cut_pdf_still_knows_its_pages() -> None:
    assert (await extract(pdf("word " * 50, "more"), ReadLimits(most_chars=100))).facts.pages == 2


async def test_what_takes_too_long_ends() -> None:
    with pytest.raises(DocumentUnreadable, match=r"time or memory|too long"):
        await extract(b"# x\n" * 5_000_000, ReadLimits(cpu_s=1, most_chars=10**9))


async def test_what_takes_too_much_memory_ends() -> None:
    with pytest.raises(DocumentUnreadable, match="memory"):
        await extract(b"words " * 1_000_000, ReadLimits(memory_bytes=64 * 1024**2))


async def test_a_page_may_nest_deeper_than_python_calls() -> None:
    assert "words" in (await extract(b"<html><body>" + b"<div>" * 3_000 + b"words")).text


async def test_a_hundred_messages_in_one_another_are_one_message() -> None:
    inner = message(Subject="innermost")
    inner.set_content("The innermost words.")
    for n in range(100):
        outer = message(Subject=f"around {n}")
        outer.set_content(f"Words around {n}.")
        outer.add_attachment(inner)
        inner = outer
    found = await extract(inner.as_bytes())
    assert "Words around 99." in found.text and "Words around 98." not in found.text
    assert found.facts.attachments == ["forwarded message"]


async def test_multiparts_without_end_are_cut() -> None:
    body = b"From: a@b.c\r\nTo: d@e.f\r\nSubject: deep\r\n"
    for n in range(100):
        body += b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n)
    body += b"Content-Type: text/plain\r\n\r\nThe end.\r\n"
    found = await extract(body)
    assert found.facts.title == "deep" and "cut" in codes(found)
    endless = body.replace(b"deep", b"x") + b"".join(
        b'Content-Type: multipart/mixed; boundary="c%d"\r\n\r\n--c%d\r\n' % (n, n) for n in range(5_000)
    )
    assert (await extract(endless)).facts.kind == "eml"


async def test_no_control_character_or_half_character_comes_through() -> None:
    found = await extract(b"<html><body>a&#0;b\x01c&#xD800;d\x0ce</body>")
    assert "a" in found.text and all(c.isprintable() or c in "\n\t\ufffd" for c in found.text)


async def test_hostile_headers_do_no_harm() -> None:
    found = await extract(
        b"From: =?x?q?" + b"=" * 5_000 + b"\nTo: (((((\nSubject: a\x01b\nDate: not a date\n\nWords.\n"
    )
    assert "Words." in found.text and found.facts.occurred_at is None
