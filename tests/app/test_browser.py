"""The pages in a real browser: uploads, slider, attack with progress, errors, keyboard, phone.

Screenshots go to the folder that PERCERT_SCREENSHOTS names, or to pytest's own.
"""

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.app.conftest import png

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"
)
pytestmark = needs_chromium
#: Milliseconds that a loaded machine may take.
PATIENCE = 120_000


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(base_url=address, viewport={"width": 1000, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.wrong = []
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on(
        "console",
        lambda said: opened.wrong.append(said.text) if "Content Security" in said.text else None,
    )
    opened.on(
        "requestfailed",
        # A page that is left or reloaded gives up what it had not finished to load.
        lambda request: (
            None
            if "ERR_ABORTED" in (request.failure or "")
            else opened.wrong.append(f"failed: {request.url} ({request.failure})")
        ),
    )
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "blob:", "data:"))
            else opened.wrong.append(request.url)
        ),
    )
    yield opened
    context.close()
    assert [one for one in opened.wrong if "/events" not in one] == []


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, content in {
        "one.png": png(60, 80, seed=1),
        "two.png": png(60, 80, seed=2),
        "grey.png": png(48, 64, level=90),
        "picture.gif": b"GIF89a" + bytes(40),
    }.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    named = os.environ.get("PERCERT_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def wait_until(page, script):
    """Ask again and again: the page's own policy forbids what playwright would wait with."""
    until = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(script):
        assert time.monotonic() < until, script
        time.sleep(0.05)


def compare(page, files):
    page.goto("/")
    page.set_input_files("#reference", files / "one.png")
    page.set_input_files("#candidate", files / "two.png")
    page.locator("#compare-form details summary").click()
    page.select_option("#metric", "thumbnail")
    page.click("#compare-form button.main")
    page.wait_for_selector("#eps-slider")


def test_compare_slides_and_attacks(page, files, shots):
    compare(page, files)
    assert page.locator("#reference-preview").is_visible()
    width = float(page.get_attribute("#bar .span", "width"))
    upper, eps = page.inner_text("#upper"), page.input_value("#exact-eps")
    page.focus("#eps-slider")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert float(page.get_attribute("#bar .span", "width")) > width
    assert float(page.inner_text("#upper")) > float(upper)
    chosen = page.input_value("#exact-eps")
    assert float(chosen) > float(eps)
    page.click("text=Attack within this")
    page.wait_for_selector("#attack-answer .verdict")
    assert page.inner_text("#attack-answer .verdict") == "Within the proven interval"
    page.click("#attack-answer summary")
    assert f"within l2 {chosen}." in page.inner_text("#attack-answer details")
    wait_until(
        page, "[...document.querySelectorAll('.pictures img')].every((i) => i.naturalWidth > 0)"
    )
    page.screenshot(path=shots / "compare.png", full_page=True)


def test_an_exact_eps_is_answered_exactly_and_survives_a_reload(page, files):
    compare(page, files)
    for eps in ("0.5", "5"):
        page.fill("#exact-eps", eps)
        page.click("text=Prove for this")
        wait_until(page, f"location.search == '?eps={float(eps)}'")
        page.reload()
        assert float(page.input_value("#exact-eps")) == float(eps)
        page.click("text=The numbers")
        assert float(page.inner_text("#asked-eps")) == float(eps)
        lower, upper = (float(page.inner_text(f"#{name}")) for name in ("lower", "upper"))
        sent = {
            name: {"name": f"{name}.png", "mimeType": "image/png", "buffer": content}
            for name, content in (
                ("reference", (files / "one.png").read_bytes()),
                ("candidate", (files / "two.png").read_bytes()),
            )
        }
        form = {**sent, "metric": "thumbnail", "eps": eps}
        plain = page.request.post("/api/v1/compare", multipart=form).json()
        assert plain["eps"] == float(eps)
        assert lower == pytest.approx(plain["lower"], abs=1e-4)
        assert upper == pytest.approx(plain["upper"], abs=1e-4)


def test_an_attack_is_on_what_was_answered_not_on_what_the_form_holds_now(page, files):
    compare(page, files)
    before = f"{float(page.text_content('#distance')):.4f}"
    page.set_input_files("#candidate", files / "one.png")
    page.click("text=Attack within this")
    page.wait_for_selector("#attack-answer .verdict")
    assert f"moved the distance from {before} up to" in page.inner_text("#attack-answer")


def test_without_scripts_an_answer_leads_on_all_the_same(browser, address, files, shots):
    context = browser.new_context(base_url=address, java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto("/")
    page.set_input_files("#reference", files / "one.png")
    page.set_input_files("#candidate", files / "two.png")
    page.click("#compare-form details summary")
    page.select_option("#metric", "thumbnail")
    page.click("#compare-form button.main")
    page.wait_for_selector("#exact-eps")
    assert page.locator("#eps-slider").is_hidden()
    page.fill("#exact-eps", "0.5")
    page.click("text=Prove for this")
    page.wait_for_url("**/ui/compare/*?eps=0.5")
    page.click("text=Attack within this")
    page.wait_for_url("**/ui/jobs/*")
    page.wait_for_selector("#attack-answer .verdict")  # the page asks again by itself
    page.click("#attack-answer summary")
    assert "within l2 0.5." in page.inner_text("#attack-answer details")
    page.screenshot(path=shots / "no-scripts.png", full_page=True)
    page.goto("/attack")
    page.select_option("#attack", "pgd")
    page.click("noscript button")
    page.wait_for_selector("#set-restarts")
    page.set_input_files("#image", files / "grey.png")
    page.fill("#set-steps", "3")
    page.click("#attack-form button.main")
    page.wait_for_selector("#answer .verdict")
    page.click("#answer summary")
    assert "pgd:steps=3, at 64 x 48" in page.inner_text("#answer details")
    context.close()


def test_a_newcomer_sees_an_example_with_one_click(page, shots):
    page.goto("/")
    assert "percert says how alike two images are" in page.inner_text(".lead")
    page.click("text=See an example")
    page.wait_for_selector("#answer .verdict")
    assert page.inner_text("#answer .verdict") == "A copy"
    wait_until(page, "[...document.querySelectorAll('.pair img')].every((i) => i.naturalWidth > 0)")
    page.click("text=And one that is no copy")
    page.wait_for_selector("text=Not a copy")
    page.screenshot(path=shots / "example.png", full_page=True)


def test_an_attack_shows_progress_and_is_cancelled(page, files, shots):
    page.goto("/attack")
    page.set_input_files("#image", files / "grey.png")
    page.select_option("#model", "stubborn")
    page.click("#attack-settings summary")
    page.fill("#set-steps", "100000")
    page.click("#attack-form button.main")
    wait_until(
        page, "Number(document.querySelector('#job progress[value]')?.getAttribute('value')) > 5"
    )
    assert "s of at most 120 s" in page.inner_text("#job .progress")
    page.screenshot(path=shots / "progress.png", full_page=True)
    address = page.evaluate("location.pathname")
    assert address.startswith("/ui/jobs/")
    page.reload()  # it is still there, and goes on
    before = int(page.get_attribute("#job progress[value]", "value"))
    wait_until(
        page,
        f"Number(document.querySelector('#job progress[value]')?.getAttribute('value')) > {before}",
    )
    assert page.evaluate("location.pathname") == address
    page.click("#job button")
    page.wait_for_selector("text=Cancelled")
    page.select_option("#model", "brightness")
    page.set_input_files("#image", files / "grey.png")
    page.click("#attack-settings summary")
    page.fill("#set-step", "1.0")
    page.fill("#set-steps", "50")
    page.click("#attack-form button.main")
    page.wait_for_selector("#answer .verdict")
    assert page.inner_text("#answer .verdict") == "Fooled"
    page.screenshot(path=shots / "attack.png", full_page=True)


def test_a_wrong_file_is_refused_in_place_and_the_page_goes_on(page, files, shots):
    page.goto("/")
    page.set_input_files("#reference", files / "picture.gif")
    page.set_input_files("#candidate", files / "two.png")
    page.click("#compare-form button.main")
    page.wait_for_selector("#answer .refused")
    assert "picture.gif: a GIF file" in page.inner_text("#answer .refused")
    page.screenshot(path=shots / "refused.png", full_page=True)
    page.set_input_files("#reference", files / "one.png")
    page.click("#compare-form button.main")
    page.wait_for_selector("#eps-slider")
    assert page.locator(".refused").count() == 0


def give_file(page, path, tries=4):
    """A file dialog is the system's: Space opens it, and what it gives is set.

    On a busy machine the key may come before the browser listens; it is pressed again then.
    """
    for left in reversed(range(tries)):
        try:
            with page.expect_file_chooser(timeout=PATIENCE / tries) as chooser:
                page.keyboard.press("Space")
        except playwright.TimeoutError:
            if not left:
                raise
        else:
            chooser.value.set_files(path)
            return


def test_the_keyboard_alone_suffices(page, files):
    page.goto("/judge")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "See an example"
    for name in ("reference", "left", "right"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == name
        give_file(page, files / ("two.png" if name == "right" else "one.png"))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Judge"
    page.keyboard.press("Enter")
    page.wait_for_selector("#times")
    wait_until(page, "document.activeElement.id == 'answer'")
    assert page.evaluate("document.activeElement.id") == "answer"
    assert "one.png is closer to one.png" in page.inner_text("#answer h2")
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Attack"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_page_without_scrolling_sideways(browser, address, scheme, shots):
    context = browser.new_context(
        base_url=address, color_scheme=scheme, viewport={"width": 320, "height": 740}
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    grounds = set()
    for path in ("/", "/judge", "/attack", "/search", "/audit", "/interface"):
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 320, path
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        name = path.strip("/") or "compare"
        page.screenshot(path=shots / f"phone-{scheme}-{name}.png", full_page=True)
    (ground,) = grounds
    brightness = sum(int(part) for part in ground[4:-1].split(","))
    assert (brightness > 600) == (scheme == "light")
    context.close()


def test_the_page_says_when_the_server_is_gone(page, files):
    page.goto("/")
    page.set_input_files("#reference", files / "one.png")
    page.set_input_files("#candidate", files / "two.png")
    page.route("**/ui/compare", lambda route: route.abort())
    page.click("#compare-form button.main")
    page.wait_for_selector("text=The server cannot be reached.")
    page.wrong = [one for one in page.wrong if "/ui/compare" not in one]
