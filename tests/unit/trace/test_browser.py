"""The report in a real browser: opened from disk, every control used, nothing loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from sandbox.timeline import Event
from sandbox.trace.page import write_page
from sandbox.trace.record import write_trace
from sandbox.trace.summary import write_index

from .story import T0, TEST, VERDICT, endpoints, events, logs_of, phone, sip, write_capture

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    _CHROMIUM is None or _DRIVER is None,
    reason="chromium and chromium-driver are not installed (make test-tools)",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
                 "disable-background-networking", "disable-component-update", "disable-sync",
                 "autoplay-policy=no-user-gesture-required", "window-size=1300,900"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=str(_DRIVER))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


class Page:
    """A page that is open."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver = driver
        driver.set_window_size(1300, 900)
        self.log("browser")
        self.log("performance")
        driver.get(path.as_uri())

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def shown(self, css: str) -> list[str]:
        """The texts of those that are to be seen."""
        texts: list[str] = self.js(
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((e) => e.checkVisibility()).map((e) => e.textContent)",
            css,
        )
        return texts

    def log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def click(self, css: str) -> None:
        element = self.one(css)
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def until(self, test: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, 10, poll_frequency=0.02).until(lambda _: test())

    def chosen(self) -> str:
        return self.one(".ev.chosen .n").text

    def check(self) -> None:
        """Nothing went wrong, and nothing was loaded."""
        assert self.log("browser") == []
        loaded = [
            message["params"]["request"]["url"]
            for entry in self.log("performance")
            if (message := json.loads(entry["message"])["message"])["method"]
            == "Network.requestWillBeSent"
        ]
        assert loaded
        assert all(url.startswith(("file:", "blob:", "data:")) for url in loaded), loaded


def _write(folder: Path, told: list[Event], run: Path) -> Path:
    write_trace(folder, test=TEST, verdict=VERDICT, events=told, endpoints=endpoints(run),
                logs=logs_of(run, told))  # fmt: skip
    return write_page(folder)


@pytest.fixture
def page(browser: webdriver.Chrome, tmp_path: Path) -> Iterator[Page]:
    """The report of the story: two calls, audio, RTP, attributes, two logs."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "sip.log").write_text(
        '{"level":"warn","ts":1700000000.5,"msg":"late","callID":"SCL_abc"}\n'
        '{"level":"debug","ts":1700000000.6,"msg":"fine","callID":"SCL_abc"}\n'
    )
    (run / "agent.log").write_text("the agent says\n")
    told = [
        *events(),
        write_capture(tmp_path / "phone", missing=range(20, 35)),
        Event(source="fault", name="fault.begins", at=T0 + 1.2, data={"text": "no RTP"}),
        Event(source="fault", name="fault.ends", at=T0 + 1.4, data={"text": "no RTP"}),
        Event(source="test", name="test.failed", at=T0 + 2.15, data={"text": "expected a 486"}),
        sip(1.5, "sip.received", "SIP/2.0 486 Busy here", "9 INVITE", call="l2.1"),
        Event(source="test", name="test.ended", at=T0 + 2.2),
        Event(source="api", name="api.request", at=T0 + 2.3, data={"method": "SIP/DeleteSIPTrunk"}),
    ]
    opened = Page(browser, _write(tmp_path / "trace", told, run))
    yield opened
    opened.check()


def test_the_verdict_comes_first(page: Page) -> None:
    sections = [section.get_attribute("id") for section in page.all("main section[id]")]
    assert sections == ["verdict", "calls", "timeline", "audio", "rtp", "attributes", "logs", "run"]
    text = page.one("#verdict").text
    for part in ("expected a 486, got 200", "tests/test_x.py:9", "the rule let it in",
                 "take the rule away"):  # fmt: skip
        assert part in text
    assert page.one("h1").text == "test_x"
    assert page.one(".top .badge").text == "failed"


def test_a_step_of_the_ladder_opens_its_message_with_the_sdp_folded(page: Page) -> None:
    invite = next(s for s in page.all(".ladder .step.sip") if "INVITE" in s.text)
    invite.click()
    assert page.one("#detail").is_displayed()
    body = page.one("#detail .body")
    assert "INVITE sip:+15550002222@127.0.0.1 SIP/2.0" in body.text
    assert "Jane Doe" in page.one(".hdrs").text
    assert not page.shown(".sdp div")
    page.click(".sdp-fold summary")
    marks = {line.text: line.get_attribute("class") for line in page.all(".sdp div")}
    assert marks["a=rtpmap:9 G722/8000"] == "only"
    assert marks["a=rtpmap:0 PCMU/8000"] == "same"
    page.click(".counterpart")
    assert "200 OK" in page.one("#detail .body").text
    page.click(".raw summary")
    assert "Call-ID: cid-1" in page.one(".raw pre").text
    page.click("#detail .copy")
    assert page.one("#detail .copy").text == "Copied"
    page.click("#close")
    assert not page.one("#detail").is_displayed()


def test_a_step_is_opened_by_the_keyboard_too(page: Page) -> None:
    step = page.one(".ladder .step.sip")
    page.js("arguments[0].focus()", step)
    page.keys(Keys.ENTER)
    assert page.chosen() == "sip.sent"
    page.keys(Keys.ESCAPE)
    assert not page.one("#detail").is_displayed()


def test_the_timeline_filters_by_source_call_kind_and_text(page: Page) -> None:
    total = len(page.all(".ev"))
    # Lines of a log that only debug are there, and shown when they are asked for.
    assert page.one("#shown").text == f"{total - 1} of {total} events"
    page.click("#debug-too")
    assert page.one("#shown").text == f"{total} events"
    page.click("#logs-too")
    assert page.one("#shown").text == f"{total - 2} of {total} events"
    page.click("#logs-too")
    page.click("#source-phone")
    assert "phone" not in page.shown(".ev .s")
    page.click("#source-phone")
    page.click("#sip-only")
    assert set(page.shown(".ev .n")) == {"sip.sent", "sip.received"}
    page.click("#sip-only")
    page.click("#late")
    assert len(page.shown(".ev")) == total - 1
    page.click("#late")
    page.click("#call-pick option[value='l2.1']")
    assert page.shown(".ev .n") == ["sip.received"]
    page.click("#call-pick option[value='']")
    page.one("#filter").send_keys("dtmf")
    assert page.shown(".ev .n") == ["dtmf.sent"]
    page.one("#filter").send_keys("xyz")
    assert page.shown(".empty")
    page.one("#filter").clear()
    page.one("#filter").send_keys(" ", Keys.BACKSPACE)
    assert len(page.shown(".ev")) == total


def test_an_event_is_chosen_by_row_by_strip_and_by_its_neighbours(page: Page) -> None:
    page.click(".ev:nth-child(3)")
    assert page.chosen() == "test.step"
    assert '"dial"' in page.one("#detail .body").text
    page.click("#later")
    assert page.chosen() == "sip.sent"
    page.click("#earlier")
    assert page.chosen() == "test.step"
    page.click("#close")
    page.click("#strip")
    assert page.one("#detail").is_displayed()


def test_the_keyboard_goes_everywhere(page: Page) -> None:
    page.keys("j", "j")
    assert page.chosen() == page.shown(".ev .n")[1]
    page.keys("k")
    assert page.chosen() == page.shown(".ev .n")[0]
    page.keys("/")
    assert page.driver.switch_to.active_element.get_attribute("id") == "filter"
    page.keys("j")
    assert page.one("#filter").get_attribute("value") == "j"
    page.keys(Keys.ESCAPE)
    page.keys("4")
    assert page.driver.current_url.endswith("#audio")
    page.keys("?")
    assert page.one("#help").is_displayed()
    page.click("#help-close")
    assert not page.one("#help").is_displayed()
    page.click("#keys")
    assert page.one("#help").is_displayed()
    page.keys(Keys.ESCAPE)


def test_light_and_dark(page: Page) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    page.js("localStorage.clear(); document.documentElement.dataset.theme = 'light'")
    light = page.js(colour)
    page.keys("t")
    dark = page.js(colour)
    page.click("#theme")
    assert (light, dark, page.js(colour)) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)", light)


def test_the_audio_plays_and_shows_its_words(page: Page) -> None:
    tracks = page.all(".track")
    assert [track.find_element(By.CSS_SELECTOR, "b").text for track in tracks] == [
        "Heard by the phone", "Said by the phone",
    ]  # fmt: skip
    assert page.one(".words span").text == "Hello there"
    # What the phone said was not noted by the test; the agent's history has it.
    assert page.one(".words.theirs span").text == "Good day"
    assert len(page.all(".words span")) == 2
    page.click(".track .play")
    length = page.until(lambda: page.js("return document.querySelector('audio').duration || 0"))
    assert length == pytest.approx(1.2, abs=0.01)
    assert page.one("audio").get_attribute("src").startswith("blob:")  # type: ignore[union-attr]
    page.until(lambda: page.js("return document.querySelector('audio').currentTime > 0"))
    # Not by the button: it may have come to its end, and would begin anew.
    page.js("document.querySelector('audio').pause()")
    page.until(lambda: page.one(".track .play").text == "▶")
    page.click(".track .wave")
    assert page.js("return document.querySelector('audio').currentTime") == pytest.approx(
        0.6, abs=0.1
    )
    for key in (Keys.HOME, Keys.ARROW_RIGHT):
        page.one(".track input[type=range]").send_keys(key)
    assert "0.0 / 1.2 s" in page.one(".track .mono").text
    painted = page.js(
        "return [...document.querySelectorAll('.wave canvas')].every((c) => "
        "new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 3)"
    )
    assert painted


def test_rtp_quality_shows_losses_where_they_were(page: Page) -> None:
    received, sent = page.all(".chart")
    assert "lost 15" in received.text
    assert "lost 0" in sent.text
    assert len(received.find_elements(By.CSS_SELECTOR, ".loss")) == 1
    assert "no RTP for 0.32 s" in page.one("#calls").text


def test_attributes_have_both_values_and_lead_to_their_event(page: Page) -> None:
    row = next(row for row in page.all("#attributes tr") if "active" in row.text)
    assert row.find_element(By.CSS_SELECTOR, ".was").text == "ringing"
    page.js("arguments[0].scrollIntoView({block: 'center'})", row)
    row.find_element(By.CSS_SELECTOR, "a").click()
    assert page.chosen() == "job.attributes"


def test_logs_have_a_tab_each_and_a_filter(page: Page) -> None:
    tabs = {tab.get_attribute("data-name"): tab for tab in page.all("#logs [role=tab]")}
    assert list(tabs) == ["agent", "sip"]
    page.click("#logs [data-name=sip]")
    assert len(page.all(".log div")) == 2
    assert "callID=SCL_abc" in page.one(".log .warn").text
    assert page.one(".log .warn").text.startswith("+0.500")
    page.one("#log-filter").send_keys("fine")
    assert len(page.all(".log div")) == 1


def test_a_log_line_is_a_row_of_its_call_and_is_found_from_the_logs(page: Page) -> None:
    page.click("#call-pick option[value='l1.1']")
    rows = [row for row in page.all(".ev.logev") if row.is_displayed()]
    assert [row.find_element(By.CSS_SELECTOR, ".s").text for row in rows] == ["sip log"]
    assert "late" in rows[0].text
    assert "badev" in str(rows[0].get_attribute("class"))
    page.click("#call-pick option[value='l2.1']")
    assert not [row for row in page.all(".ev.logev") if row.is_displayed()]
    page.click("#call-pick option[value='']")
    page.click("#logs [data-name=sip]")
    page.click(".log .warn")
    assert page.chosen() == "log.warn"
    assert "SCL_abc" in page.one("#detail .hdrs").text
    assert "null" not in page.one("#detail .body").text


def test_the_strip_is_drawn_anew_when_the_detail_takes_its_room(page: Page) -> None:
    def matches() -> bool:
        return bool(
            page.js("return strip.width === Math.floor(strip.clientWidth * devicePixelRatio)")
        )

    wide = page.one("#strip").size["width"]
    page.click(".ev:nth-child(3)")
    assert page.one("#strip").size["width"] < wide
    page.until(matches)


def test_a_fault_and_the_failure_are_rows_and_steps_of_the_ladder(page: Page) -> None:
    assert page.shown(".ev.faultev .x") == ["no RTP", "no RTP", "expected a 486"]
    labels = page.shown(".ladder .fault .label, .ladder .failed .label")
    assert labels[:3] == ["fault: no RTP", "fault over: no RTP", "failed: expected a 486"]
    page.click("#source-fault")
    assert page.shown(".ev.faultev .x") == ["expected a 486"]


def test_the_command_is_there_to_be_copied(page: Page) -> None:
    assert page.one("#command").text.startswith("pytest tests/test_x.py::test_x")
    page.click("#run .copy")
    assert page.one("#run .copy").text == "Copied"
    links = {link.get_attribute("href").rpartition("/")[2] for link in page.all("#run a")}  # type: ignore[union-attr]
    folder = Path(page.driver.current_url.removeprefix("file://").partition("#")[0]).parent
    assert links
    assert all((folder / name).is_file() for name in links)


@pytest.mark.parametrize("width", [500, 900, 1600])
def test_no_width_needs_sideways_scrolling(page: Page, width: int) -> None:
    page.driver.set_window_size(width, 800)
    page.click(".ev:nth-child(4)")
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")


_HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--"


def test_what_a_message_says_is_never_markup(browser: webdriver.Chrome, tmp_path: Path) -> None:
    told = [
        *events(),
        sip(0.25, "sip.received", f"SIP/2.0 486 {_HOSTILE}", more=f"X-Evil: {_HOSTILE}\r\n",
            body=f"v=0\r\na={_HOSTILE}\r\n"),
        phone(0.3, "speech.heard", text=_HOSTILE),
        Event(source="test", name="test.step", at=T0 + 0.3, data={"text": _HOSTILE}),
        Event(source="agent", name="job.attributes", at=T0 + 0.4, data={
            "identity": _HOSTILE, "room": "room-1", "changed": {_HOSTILE: _HOSTILE}}),
    ]  # fmt: skip
    run = tmp_path / "run"
    run.mkdir()
    (run / "agent.log").write_text(f"{_HOSTILE}\n")
    folder = tmp_path / "trace"
    write_trace(
        folder, test={**TEST, "name": _HOSTILE, "doc": _HOSTILE}, events=told,
        verdict={**VERDICT, "what": _HOSTILE, "why": [_HOSTILE], "traceback": _HOSTILE},
        endpoints=endpoints(run), logs=logs_of(run, told),
    )  # fmt: skip
    opened = Page(browser, write_page(folder))
    assert opened.one("h1").text == _HOSTILE
    opened.js("for (const row of document.querySelectorAll('.ev')) row.click()")
    assert opened.one("#detail").is_displayed()
    assert opened.all("img, iframe, object") == []
    assert len(opened.all("script")) == 2
    opened.check()


def test_a_thousand_events_are_all_there(browser: webdriver.Chrome, tmp_path: Path) -> None:
    told = events()
    told += [phone(3 + n / 100, "media.tone", hz=n, on=True) for n in range(1000 - len(told))]
    opened = Page(browser, _write(tmp_path / "trace", told, tmp_path / "run"))
    assert len(opened.all(".ev")) == 1000
    opened.one("#filter").send_keys('"hz":977,')
    assert opened.one("#shown").text == "0 of 1000 events"
    opened.one("#filter").clear()
    opened.one("#filter").send_keys('"hz":97,')
    assert opened.one("#shown").text == "1 of 1000 events"
    opened.check()


def test_a_test_without_a_call_has_a_page(browser: webdriver.Chrome, tmp_path: Path) -> None:
    told = [Event(source="test", name="test.started", at=T0)]
    opened = Page(browser, _write(tmp_path / "trace", told, tmp_path / "run"))
    assert "placed and took no call" in opened.one("#calls").text
    opened.check()


def test_the_index_filters_and_leads_to_the_reports(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    _write(tmp_path / "a", events(), tmp_path / "run")
    facts = {"seconds": 1.0, "engine": "native", "sip_service": "stand-in"}
    results = {
        "t.py::test_good": {**facts, "outcome": "passed"},
        "t.py::test_bad": {**facts, "outcome": "failed", "what": _HOSTILE, "cause": "no rule",
                           "folder": str(tmp_path / "a")},
    }  # fmt: skip
    opened = Page(browser, write_index(tmp_path, results))
    assert opened.one("h1").text == "1 of 2 failed"
    assert "test_bad" in opened.all("tbody tr")[0].text
    assert "likely cause  no rule" in opened.all("tbody tr")[0].get_attribute("textContent")  # type: ignore[operator]
    opened.click("#only-failed")
    assert len(opened.shown("tbody tr")) == 1
    opened.click("#only-failed")
    opened.one("#filter").send_keys("good")
    assert len(opened.shown("tbody tr")) == 1
    opened.one("#filter").clear()
    opened.one("#filter").send_keys("b")
    opened.click("tbody a")
    assert opened.one("h1").text == "test_x"
    opened.check()
