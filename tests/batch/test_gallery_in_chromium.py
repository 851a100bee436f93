"""The gallery as people meet it: in a real browser, without a screen."""

from __future__ import annotations

import re
import socket
import wave
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fal_async.batch.gallery import Gallery, GalleryNumbers
from fal_async.batch.outcome import Failed, SavedFile, Succeeded
from fal_async.emulator.models.painting import paint
from fal_async.emulator.models.png import encode_png
from fal_async.errors import Billing, ConnectionLostError, ModelError
from tests.support.chromium import Tab, dumped_dom, find_chromium, running_chromium, tab_of

CHROMIUM = find_chromium()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome on this machine")

MODEL = "fal-ai/fast-sdxl"
MANY = 10_000
#: Neighbours that a double cannot tell apart.
SEED = 15860307465884635512

HOSTILE = [
    "</script><script>hacked = 1; alert(1)</script>",
    "<img src=x onerror='hacked = 1; alert(1)'>",
    "<style>body { display: none }</style>",
    "<base href='http://127.0.0.1:9/'><iframe src='javascript:alert(1)'></iframe>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "\u2028\u2029<!--",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert CHROMIUM is not None
    with running_chromium(CHROMIUM, tmp_path_factory.mktemp("browser") / "profile") as address:
        yield address


@pytest.fixture
async def tab(browser: str) -> AsyncIterator[Tab]:
    async with tab_of(browser) as tab:
        yield tab


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(MANY, tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(120, tmp_path_factory.mktemp("few"))


def page_of(number: int, folder: Path) -> str:
    """The address of a page of so many items, of which one in ten failed."""
    for name in range(8):
        picture = paint(b"%d" % name, 128, 96)
        file = encode_png(picture.width, picture.height, picture.palette, picture.rows)
        folder.joinpath(f"{name} #1.png").write_bytes(file)
    with wave.open(str(folder / "voice.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"\0\0" * 800)
    gallery = Gallery(folder / "gallery.html", model=MODEL)
    for index in range(number):
        gallery.add(outcome(index, folder))
    when = datetime(2026, 11, 21, 4, 30, tzinfo=UTC)
    gallery.write(GalleryNumbers(written=when, in_doubt=3, expected=number + 3, seconds=100.0))
    return gallery.path.as_uri()


def outcome(index: int, folder: Path) -> Succeeded[Any] | Failed:
    facts: dict[str, Any] = {
        "index": index,
        "input": {"prompt": f"picture {index} of a {'fox' if index % 100 == 7 else 'cat'}"},
        "request_id": f"request-{index}",
        "elapsed": 1 + (index * 7919 % MANY) / 1000,
    }
    if index % 10 == 4:
        error = ModelError("body.prompt: not this one", billing=Billing.UNKNOWN)
        return Failed(error=error, billing=error.billing, **facts)
    path = folder / ("voice.wav" if index % 50 == 3 else f"{index % 8} #1.png")
    return Succeeded(
        output={"seed": SEED - index},
        billable_units=Decimal("0.5"),
        files=(SavedFile(url="https://v3.fal.media/files/a", path=path),),
        **facts,
    )


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "gallery.html", model=MODEL)


async def shown(tab: Tab) -> list[int]:
    """The items of the first rows, in their order."""
    told = await tab.see(
        "[...document.querySelectorAll('.card')].map((c) => Number(c.dataset.index))"
    )
    return [int(index) for index in told]


async def count_told(tab: Tab) -> str:
    return str(await tab.see("document.getElementById('count').textContent"))


def asked_of_others(tab: Tab, page: str) -> list[str]:
    """Players draw their own buttons from data: URIs of the browser."""
    home = page.rpartition("/")[0]
    return [url for url in tab.requests if not url.startswith((home, "data:", "about:"))]


# --- opening --------------------------------------------------------------------------------------------


async def test_ten_thousand_items_are_on_the_screen_within_two_seconds(tab: Tab, many: str) -> None:
    await tab.open(many)
    await tab.until("performance.getEntriesByName('first-contentful-paint').length")
    ready, painted, first = await tab.see(
        "[performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd,"
        " performance.getEntriesByName('first-contentful-paint')[0].startTime,"
        " Number(document.documentElement.dataset.shown)]"
    )
    assert 0 < first <= ready < 2_000
    assert 0 < painted < 2_000
    assert (await shown(tab))[:5] == [0, 1, 2, 3, 4]
    assert await count_told(tab) == "10,000 items"


async def test_only_what_is_near_the_screen_is_in_the_page(tab: Tab, many: str) -> None:
    await tab.open(many)
    assert len(await shown(tab)) < 200
    await tab.see("scrollTo(0, document.documentElement.scrollHeight)")
    await tab.until("document.querySelector('.card[data-index=\"9999\"]')")
    await tab.until("!document.querySelector('.card[data-index=\"0\"]')")
    assert len(await shown(tab)) < 200


async def test_pictures_come_from_beside_the_page_and_nothing_from_anywhere_else(
    tab: Tab, many: str
) -> None:
    await tab.open(many)
    await tab.until("document.querySelector('.card img').naturalWidth === 128")
    assert any(url.endswith("/0%20%231.png") for url in tab.requests)
    assert asked_of_others(tab, many) == []
    assert tab.complaints == []


async def test_the_numbers_stand_on_top(tab: Tab, many: str) -> None:
    await tab.open(many)
    told = await tab.see("document.getElementById('numbers').innerText.replace(/\\s+/g, ' ')")
    assert told.startswith("Done 9,000 of 10,003 Failed 1,000 In doubt 3 ")
    assert "Units billed 4,500.0 + 1,000 unsure Median call 6.00 s " in told
    assert told.endswith("Took 1 min 40 s Rate 100 / s")
    assert await tab.see("document.title") == MODEL
    assert "2026" in await tab.see("document.getElementById('byline').textContent")


async def test_nothing_is_loaded_of_a_sound_until_it_is_played(tab: Tab, few: str) -> None:
    await tab.open(f"{few}#kind=audio")
    assert (await shown(tab)) == [3, 53, 103]
    assert not any(url.endswith(".wav") for url in tab.requests)
    await tab.see("document.querySelector('.play').click()")
    await tab.until("document.querySelector('audio').readyState > 0")
    assert any(url.endswith("voice.wav") for url in tab.requests)


# --- filter and sort, by the address --------------------------------------------------------------------

VIEWS: dict[str, tuple[str, list[int]]] = {
    "": ("10,000 items", [0, 1, 2]),
    "sort=-index": ("10,000 items", [9999, 9998, 9997]),
    "show=failed": ("1,000 of 10,000", [4, 14, 24]),
    "show=ok&sort=-index": ("9,000 of 10,000", [9999, 9998, 9997]),
    "q=FOX": ("100 of 10,000", [7, 107, 207]),
    "q=of+picture+%239999": ("1 of 10,000", [9999]),
    "q=not+this&show=ok": ("0 of 10,000", []),
    f"q={SEED - 42}": ("1 of 10,000", [42]),
    "kind=audio": ("200 of 10,000", [3, 53, 103]),
    "kind=image&sort=-index": ("8,800 of 10,000", [9999, 9998, 9997]),
    # seeds as numbers: the largest is the first item's; without one comes last
    "sort=-seed": ("10,000 items", [0, 1, 2, 3, 5, 6]),
    "sort=seed": ("10,000 items", [9999, 9998, 9997, 9996, 9995, 9993]),
    "sort=time": ("10,000 items", sorted(range(MANY), key=lambda index: index * 7919 % MANY)[:5]),
    "sort=units&show=failed": ("1,000 of 10,000", [4, 14, 24]),
    "sort=nonsense&show=nonsense&kind=nonsense&item=nonsense": ("10,000 items", [0, 1, 2]),
}


@pytest.mark.parametrize("view", ["show=failed&sort=-index", "q=fox&sort=-seed"])
def test_a_linked_view_is_in_the_document_as_soon_as_it_is_loaded(
    many: str, tmp_path: Path, view: str
) -> None:
    assert CHROMIUM is not None
    dom = dumped_dom(CHROMIUM, tmp_path / "profile", f"{many}#{view}")
    indexes = [int(index) for index in re.findall(r'class="card"[^>]* data-index="(\d+)"', dom)]
    expected = {"show": [9994, 9984, 9974], "q=fo": [7, 107, 207]}[view[:4]]
    assert indexes[:3] == expected
    assert f"{'1,000' if view[:4] == 'show' else '100'} of 10,000" in dom


async def test_the_address_says_which_items_are_shown_in_which_order(tab: Tab, many: str) -> None:
    await tab.open(many)
    for view, (count, first) in VIEWS.items():
        await tab.see(f"location.hash = {view!r}")
        await tab.until(f"document.getElementById('count').textContent === {count!r}")
        await tab.see("new Promise((r) => setTimeout(r))")
        assert (await shown(tab))[: len(first)] == first, view
    assert tab.complaints == []


async def test_what_is_chosen_is_kept_in_the_address(tab: Tab, many: str) -> None:
    await tab.open(many)
    await tab.see("document.querySelector('[name=show][value=failed]').click()")
    await tab.see("(s => { s.value = '-time'; s.dispatchEvent(new Event('change', { bubbles: true })) })"
                  "(document.getElementById('sort'))")  # fmt: skip
    assert await tab.see("location.hash") == "#show=failed&sort=-time"
    await tab.press("/")
    assert await tab.see("document.activeElement.id") == "q"
    await tab.ask("Input.insertText", text="picture 14 ")
    await tab.until("location.hash.includes('q=')")
    assert await tab.see("location.hash") == "#q=picture+14&show=failed&sort=-time"
    assert await tab.see("document.getElementById('q').value") == "picture 14 "


async def test_an_empty_view_says_so_and_leads_back(tab: Tab, many: str) -> None:
    await tab.open(f"{many}#q=zebra")
    assert not await tab.see("document.getElementById('nothing').hidden")
    await tab.see("document.getElementById('reset').click()")
    assert await count_told(tab) == "10,000 items"
    assert await tab.see("location.hash") == ""


# --- one item, and the keyboard -------------------------------------------------------------------------


async def large(tab: Tab) -> str:
    """The number of the item that is shown large; empty if none is."""
    script = (
        "document.getElementById('box').open ? document.querySelector('.facts h2').textContent : ''"
    )
    return str(await tab.see(script)).partition(" ")[0]


async def test_items_are_walked_through_opened_and_left_with_the_keyboard(
    tab: Tab, many: str
) -> None:
    await tab.open(many)
    await tab.see("document.querySelector('.card').focus()")
    await tab.press("ArrowRight")
    await tab.press("Enter")
    assert await large(tab) == "#1"
    assert await tab.see("location.hash") == "#item=1"
    await tab.press("ArrowRight")
    assert await large(tab) == "#2"
    await tab.press("ArrowLeft")
    await tab.press("ArrowLeft")
    await tab.press("ArrowLeft")  # there is none before the first
    assert await large(tab) == "#0"
    assert await tab.see("document.getElementById('back').disabled")
    await tab.press("Escape")
    await tab.until("location.hash === ''")
    assert await large(tab) == ""
    assert await tab.see("document.activeElement.dataset.index") == "0"
    await tab.press("End")
    assert await tab.see("document.activeElement.dataset.index") == "9999"
    await tab.press("Home")
    await tab.press("ArrowDown")
    columns = await tab.see("Number(document.activeElement.dataset.index)")
    assert columns == 5
    assert tab.complaints == []


async def test_a_click_on_a_picture_shows_it_large_with_all_that_is_known(
    tab: Tab, few: str
) -> None:
    await tab.open(few)
    await tab.see("document.querySelector('.card[data-index=\"2\"] img').click()")
    assert await tab.see("document.querySelector('.stage img').src.endsWith('/2%20%231.png')")
    facts = await tab.see("document.getElementById('facts').innerText.replace(/\\s+/g, ' ')")
    for fact in ("picture 2 of a cat", str(SEED - 2), "0.5 units", "request-2", "2 #1.png"):
        assert fact in facts


async def test_a_failure_tells_its_class_its_message_and_what_it_may_have_cost(
    tab: Tab, few: str
) -> None:
    await tab.open(f"{few}#item=14")
    assert await large(tab) == "#14"
    text = await tab.see("document.getElementById('stage').innerText.replace(/\\s+/g, ' ')")
    assert text.strip() == "ModelError body.prompt: not this one May have been billed"


async def test_arrows_go_through_the_files_of_an_item_first(tab: Tab, gallery: Gallery) -> None:
    unsaved = SavedFile(url="https://v3.fal.media/a.png", error=ConnectionLostError("It broke off"))
    two = (unsaved, SavedFile(url="https://v3.fal.media/b.glb"))
    gallery.add(Succeeded(index=0, input={}, output={}, files=two))
    gallery.add(Succeeded(index=1, input={}, output={"output": "Once upon a time"}))
    await tab.open(f"{gallery.write().as_uri()}#item=0")
    stage = "document.getElementById('stage').innerText.replace(/\\s+/g, ' ').trim()"
    assert await tab.see(stage) == "https://v3.fal.media/a.png It broke off"
    await tab.press("ArrowRight")
    assert await tab.see(stage) == "https://v3.fal.media/b.glb It was not saved."
    await tab.press("ArrowRight")
    assert await tab.see(stage) == "Once upon a time"
    await tab.press("ArrowLeft")
    assert await tab.see(stage) == "https://v3.fal.media/b.glb It was not saved."
    assert asked_of_others(tab, gallery.path.as_uri()) == []


async def test_a_file_that_the_browser_cannot_show_becomes_a_link(
    tab: Tab, gallery: Gallery
) -> None:
    saved = SavedFile(url="", path=gallery.path.with_name("gone?.png"))
    gallery.add(Succeeded(index=0, input={}, output={}, files=(saved,)))
    await tab.open(gallery.write().as_uri())
    await tab.until("document.querySelector('.card a')")
    assert await tab.see("document.querySelector('.card a').textContent") == "gone?.png"


# --- hostile text and the policy ------------------------------------------------------------------------


async def test_hostile_text_is_shown_and_does_nothing(tab: Tab, gallery: Gallery) -> None:
    for index, text in enumerate(HOSTILE):
        files = (SavedFile(url=text), SavedFile(url=f"https://v3.fal.media/{text}"))
        facts: dict[str, Any] = {"index": index, "input": {"prompt": text}, "request_id": text}
        gallery.add(Succeeded(output={"seed": text, "output": text}, files=files, **facts))
    for index, text in enumerate(HOSTILE, len(HOSTILE)):
        gallery.add(Failed(index=index, input={"prompt": text}, error=ModelError(text)))
    page = gallery.write().as_uri()
    await tab.open(page)
    prompts = await tab.see(
        "[...document.querySelectorAll('.card .prompt')].map((p) => p.textContent)"
    )
    assert prompts == HOSTILE * 2
    await tab.see("document.querySelector('.card').click()")
    hrefs = []
    for _ in range(3 * len(HOSTILE)):  # each item large, with each of its files
        hrefs += await tab.see("[...document.querySelectorAll('a')].map((a) => a.protocol)")
        await tab.press("ArrowRight")
    assert await large(tab) == f"#{2 * len(HOSTILE) - 1}"
    assert set(hrefs) == {"https:"}
    assert await tab.see("typeof hacked") == "undefined"
    assert (
        await tab.see(
            "document.querySelectorAll('main script, main iframe, main style, base').length"
        )
        == 0
    )
    assert (tab.dialogs, tab.complaints, asked_of_others(tab, page)) == ([], [], [])


async def test_a_hostile_address_does_nothing(tab: Tab, few: str) -> None:
    await tab.open(
        f"{few}#q=%3Cimg%20src=x%20onerror=alert(1)%3E&sort=__proto__&kind=%22%3E&item=%3Cb%3E"
    )
    assert await count_told(tab) == "0 of 120"
    assert (tab.dialogs, tab.complaints) == ([], [])


# No iframe, no preconnect: Chromium refuses to load, and yet opens a connection that carries nothing.
ATTEMPTS = """
const said = [];
document.addEventListener("securitypolicyviolation", (event) => said.push(event.effectiveDirective));
for (const [tag, name] of [["img", "src"], ["video", "src"], ["link", "href"]]) {
  const element = document.createElement(tag);
  if (tag === "link") element.rel = "stylesheet";
  element[name] = URL_;
  document.body.append(element);
}
await fetch(URL_).catch(() => {});
const picture = new Image();
await new Promise((r) => { picture.onerror = r; picture.src = URL_ });
for (let n = 0; n < 5; n += 1) await new Promise(requestAnimationFrame);
return said;
"""


async def test_the_policy_lets_nothing_leave_whatever_gets_into_the_page(
    tab: Tab, gallery: Gallery
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        await tab.open(gallery.write().as_uri())
        said = await tab.see(f"(async () => {{ {ATTEMPTS.replace('URL_', repr(url))} }})()")
        with pytest.raises(BlockingIOError):
            server.accept()
        await tab.open("about:blank")  # where there is no policy, a call does come through
        await tab.see(f"void fetch({url!r}).catch(() => {{}})")
        server.settimeout(10)
        server.accept()[0].close()
    assert set(said) >= {"img-src", "connect-src", "media-src", "style-src-elem"}


async def test_a_script_that_gets_into_the_page_is_not_run(tab: Tab, gallery: Gallery) -> None:
    await tab.open(gallery.write().as_uri())
    for attempt in (
        "document.body.innerHTML = '<img src=x onerror=\\'hacked = 1\\'>'",
        "document.body.setAttribute('onclick', 'hacked = 1')",
        "document.createElement('script').textContent = 'hacked = 1'",
        "document.write('<script>hacked = 1</script>')",
    ):
        refused = (
            f"(() => {{ try {{ {attempt}; return 'done' }} catch (e) {{ return e.name }} }})()"
        )
        assert await tab.see(refused) == "TypeError", attempt
    # One that was in the file from the beginning, as if an escape had been forgotten.
    page = gallery.path.read_text(encoding="utf-8")
    bad = (
        "<script>hacked = 1</script><b id=bad onclick='hacked = 1'>x</b>"
        "<a id=worse href='javascript:hacked = 1'>y</a>"
    )
    gallery.path.write_text(page.replace("<main", f"{bad}<main"), encoding="utf-8")
    await tab.open(gallery.path.as_uri())
    await tab.see("document.getElementById('bad').click()")
    await tab.see("document.getElementById('worse').click()")
    assert (
        await tab.see("new Promise((r) => requestAnimationFrame(() => r(typeof hacked)))")
        == "undefined"
    )


# --- looks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 768, 1440, 2560])
async def test_no_page_is_wider_than_its_screen(tab: Tab, few: str, width: int) -> None:
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    await tab.ask("Emulation.setDeviceMetricsOverride", **screen)
    for view in ("", "#item=2", "#item=14"):
        await tab.open("about:blank")
        await tab.open(few + view)
        assert await tab.see("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    columns = await tab.see(
        "getComputedStyle(document.querySelector('.block')).gridTemplateColumns"
    )
    assert len(columns.split()) == {320: 2, 768: 3, 1440: 5, 2560: 10}[width]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_words_stand_out_from_their_paper_by_day_and_by_night(
    tab: Tab, few: str, scheme: str
) -> None:
    await tab.ask(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    await tab.open(few)
    for selector, paper in (
        (".prompt", ".card"),
        (".small", ".card"),
        ("#byline", "body"),
        (".pane.bad b", ".pane.bad"),
    ):
        ink = await tab.see(f"getComputedStyle(document.querySelector('{selector}')).color")
        ground = await tab.see(
            f"getComputedStyle(document.querySelector('{paper}')).backgroundColor"
        )
        assert contrast(ink, ground) >= 4.5, (selector, ink, ground)


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.1; 4.5 is enough for words."""
    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
