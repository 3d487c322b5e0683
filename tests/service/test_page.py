"""The page in a real browser, against real services, with a microphone that hears made-up or real voices."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import voice
from tests.service.accessibility import faults
from tests.service.browser import browser as opened_browser
from tests.service.conftest import Running
from tests.service.toys import SpectrumEmbedder, encoded, problem, served
from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig, Embedder, ModelCard
from voxangle.features import Filterbank, FilterbankConfig
from voxangle.runtime.card import Calibration, Threshold
from voxangle.service.keys import Scope
from voxangle.service.page.files import POLICY
from voxangle.service.service import Service
from voxangle.service.settings import Settings
from voxangle.voiceprints.opening import open_store

STATIC = {
    entry.name: entry.read_text() for entry in files("voxangle.service.page").joinpath("static").iterdir()
}
MINE, OTHER = 0, 5
PATIENCE = 60_000  # milliseconds, for a busy machine
Page = Any
Opener = Callable[..., Page]


def in_a_browser(test: Callable[..., None]) -> Callable[..., None]:
    """With what gives the browser, where the machine has none, and apart from the other tests, as its clock is real."""
    marked: Callable[..., None] = pytest.mark.microphone(pytest.mark.debian(test))
    return marked


# --- what is served ------------------------------------------------------------------------------------------


def test_the_page_is_served_whole_under_a_strict_policy(running: Running) -> None:
    with httpx.Client(base_url=running.address) as nobody:
        for path in ("/", *(f"/page/{name}" for name in STATIC if name != "index.html")):
            answer = nobody.get(path)
            assert answer.status_code == 200, path
            assert answer.text == STATIC[path.rpartition("/")[2] or "index.html"]
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
            again = nobody.get(path, headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert nobody.head("/").headers["content-type"].startswith("text/html")
        for path in ("/page/nothing.js", "/page/..%2Ffiles.py", "/page/index.html", "/page/"):
            assert problem(nobody.get(path)) == "no-such-route"
    assert "unsafe" not in POLICY
    assert "*" not in POLICY


def test_no_file_is_dead_and_none_names_another_host() -> None:
    index = STATIC["index.html"]
    reached = set(re.findall(r'(?:src|href)="page/([^"]+)"', index)) | {"index.html", "capture-worklet.js"}
    while (
        found := {
            name
            for file in reached
            if file.endswith(".js")
            for name in re.findall(r'from "\./([^"]+)"', STATIC[file])
        }
        - reached
    ):
        reached |= found
    assert reached == set(STATIC)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bstyle=|\bon[a-z]+=|<style", index)
    for name, text in STATIC.items():
        assert not re.search(r"(?<![\w.])(https?:)?//[a-z0-9-]+\.", text.replace("http://www.w3.org/", "")), (
            name
        )
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function", text), name


# --- a browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chrome(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose microphone hears a made-up voice."""
    file = tmp_path_factory.mktemp("microphone") / "mine.wav"
    soundfile.write(file, np.concatenate([voice(MINE, i, 4.0) for i in range(3)]), 16_000, subtype="PCM_16")
    with opened_browser(driver, file) as started:
        yield started


@pytest.fixture
def page_of(chrome: Any) -> Iterator[Opener]:
    """Opens the page of a service, and in the end looks whether anything went wrong that nobody saw."""
    wrong: list[str] = []
    contexts = []

    def look(message: Any) -> None:
        if "Content Security Policy" in message.text or "Trusted" in message.text:
            wrong.append(message.text)

    def open_page(address: str, *scripts: str, ready: bool = True, **options: Any) -> Page:
        context = chrome.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", look)
        for script in scripts:
            page.add_init_script(script)
        page.goto(address)
        if ready:
            page.get_by_text("Ready. Model:").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for no key; what a test enrols it names after itself."""
    settings = Settings(
        requests_per_minute=1e6, burst=1_000_000, decoders=1, seconds=20, recordings=4, body_bytes=2**21
    )
    with open_store(tmp_path_factory.mktemp("page") / "prints.sqlite") as store:
        yield Service(SpectrumEmbedder(), store, None, settings, hears="level")


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    with served(service) as found:
        yield found


@pytest.fixture(scope="module")
def enrolled(address: str) -> str:
    """The name of somebody enrolled, whom the microphone hears."""
    sent = [("recordings", (f"{i}.wav", encoded(voice(MINE, 10 + i, 3.0)))) for i in range(2)]
    httpx.post(f"{address}/v1/enrol", data={"name": "mine"}, files=sent).raise_for_status()
    return "mine"


def file(speaker: int, number: int, name: str = "voice.wav") -> dict[str, Any]:
    return {"name": name, "mimeType": "audio/wav", "buffer": encoded(voice(speaker, number, 3.0))}


def record(page: Page, seconds: float) -> None:
    """Press the button, let the voice speak, press again."""
    start(page, seconds)
    task(page).get_by_role("button", name="Stop").click()


def start(page: Page, seconds: float) -> None:
    part = task(page)
    part.get_by_role("button", name="Record", exact=True).click()
    part.get_by_role("button", name="Stop").wait_for()
    while float(part.get_by_role("timer").inner_text().split()[0]) < seconds:
        page.wait_for_timeout(50)


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()
    arrived(page, name)


def arrived(page: Page, name: str) -> None:
    """Wait for a task: until it shows, the one left might still be the visible one."""
    link = page.get_by_role("navigation").get_by_role("link", name=name)
    link.and_(page.locator("[aria-current]")).wait_for()


def verify_enrolled(page: Page, name: str) -> None:
    """From the answer of an enrolment to its verification."""
    page.get_by_role("button", name=f"Verify the voice of {name}").click()
    arrived(page, "Verify")


def task(page: Page) -> Page:
    return page.locator(".task:visible")


def choose(page: Page, *chosen: dict[str, Any]) -> None:
    task(page).locator("input[type=file]").set_input_files(list(chosen))


def drop(page: Page, onto: Page, *paths: Path) -> None:
    """Drag files of this machine over a place and let go: the browser reads them, and does what it does by itself."""
    onto.scroll_into_view_if_needed()
    box = onto.bounding_box()
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    carried = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    devices = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        devices.send("Input.dispatchDragEvent", {"type": kind, **where, "data": carried})
    devices.detach()


def answered(page: Page, text: str) -> None:
    task(page).locator(".answer", has_text=text).wait_for()


def answer_of(page: Page) -> str:
    """The answer, once it is final."""
    task(page).get_by_text("What was measured").wait_for()
    text: str = task(page).locator(".answer").inner_text()
    return text


def agree(page: Page, name: str) -> None:
    page.get_by_label("Name of the person").fill(name)
    page.get_by_label("This person knows").check()


# --- a newcomer, from `voxangle serve` on --------------------------------------------------------------------


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder that tells made-up voices by their spectra without any training."""
    torch.manual_seed(2)
    bank = FilterbankConfig(bins=40, subtract_mean=False)
    config = ECAPATDNNConfig(
        bins=40, channels=16, scale=2, aggregation=24, squeeze=4, attention=4, dimension=64
    )
    network = ECAPATDNN(config).eval()
    bare = Embedder(Filterbank(bank), network, ModelCard(name="bare", encoder=config, filterbank=bank))
    vectors = bare.embed([voice(speaker, i, 4.0) for speaker in (MINE, OTHER) for i in range(2)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    same, different = unit[0] @ unit[1], (unit[:2] @ unit[2:].T).max()
    middle, scale = float(same + different) / 2, 10 / float(same - different)
    card = ModelCard(
        name="untrained",
        encoder=config,
        filterbank=bank,
        calibration=Calibration(scale=scale, offset=-scale * middle, source="two made-up voices"),
        thresholds=(Threshold(name="middle", value=middle, source="two made-up voices"),),
    )
    folder = tmp_path_factory.mktemp("untrained")
    Embedder(Filterbank(bank), network, card).save(folder)
    return folder


@pytest.fixture(scope="module")
def command(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `voxangle serve`, a process of its own."""
    folder = tmp_path_factory.mktemp("serve")
    words = ["serve", "--open", "--model", untrained, "--store", folder / "prints.sqlite", "--port", 0]
    words += ["--decoders", 1, "--no-vad", "--no-check-voices"]
    process = subprocess.Popen(
        [sys.executable, "-m", "voxangle", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        told = json.loads(process.stderr.readline())
        assert told["event"] == "listening"
        yield f"http://{told['addresses'][0]}"
    finally:
        process.terminate()
        process.communicate()


@in_a_browser
def test_a_newcomer_enrols_verifies_identifies_and_deletes(command: str, page_of: Opener) -> None:
    page = page_of(command)

    agree(page, "ann")
    record(page, 1.8)
    record(page, 1.8)
    page.get_by_role("button", name="Enrol with 2 recordings").click()
    page.get_by_text("ann is enrolled").wait_for()
    assert not page.get_by_label("This person knows").is_checked()  # the next person is asked again

    verify_enrolled(page, "ann")
    start(page, 2.5)
    answered(page, "So far it sounds like ann")  # while she speaks
    task(page).get_by_role("button", name="Stop").click()
    assert answer_of(page) == "Accepted: this sounds like ann"
    said = task(page).inner_text()
    assert "at a prior of 50\u00a0%" in said
    assert "The model’s card knows none." in said
    assert "how much worse it can be was not measured" in said
    assert "A replayed, cloned or imitated voice is not noticed." in said

    choose(page, file(OTHER, 3))
    answered(page, "Rejected: this does not sound like ann")
    assert "What is doubtful" not in task(page).inner_text()

    go(page, "Identify")
    record(page, 1.8)
    assert answer_of(page) == "This sounds like ann"
    choose(page, file(OTHER, 4))
    answered(page, "Nobody who is enrolled")

    go(page, "Voiceprints")
    page.get_by_role("button", name="Delete ann").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete for good").click()
    page.get_by_text("Nobody is enrolled.").wait_for()
    history = page.get_by_role("list", name="This visit").inner_text()
    assert [one for one in history.splitlines() if one in {"Enrol", "Verify", "Identify", "Delete"}] == [
        *("Delete", "Identify", "Identify", "Verify", "Verify", "Enrol")
    ]
    page.get_by_role("button", name="Forget these").click()
    assert page.get_by_role("list", name="This visit").inner_text() == ""


@in_a_browser
@pytest.mark.corpus
def test_real_speech_is_heard_and_silence_is_refused(
    untrained: Path, shared_corpora: Path, tmp_path: Path, driver: Any
) -> None:
    recordings = sorted((shared_corpora / "librispeech" / "eval").rglob("*.opus"))[:3]
    speech = np.concatenate([soundfile.read(one, dtype="float32")[0] for one in recordings])
    soundfile.write(tmp_path / "speech.wav", speech, 16_000, subtype="PCM_16")
    pytest.importorskip("silero_vad", reason="the extra 'vad' is not installed")
    with (
        open_store(tmp_path / "prints.sqlite") as store,
        served(Service(Embedder.load(untrained, device="cpu"), store, None, Settings(decoders=1))) as address,
        opened_browser(driver, tmp_path / "speech.wav") as chrome,
    ):
        page = chrome.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.get_by_text("told from other sound by silero-vad").wait_for()
        agree(page, "reader")
        record(page, 4.0)
        page.get_by_role("button", name="Enrol with 1 recording").click()
        page.get_by_text("reader is enrolled").wait_for()
        told = task(page).locator(".outcome").text_content().replace("\u00a0", " ")
        shown = [re.findall(rf"{words}(\S+) s", told)[0] for words in ("1 recording, ", "Speech heard in it")]
        assert shown[0] == shown[1]  # silero-vad's measure; what sounds would be more
        verify_enrolled(page, "reader")
        record(page, 4.0)
        assert answer_of(page) in {
            "Accepted: this sounds like reader",
            "Rejected: this does not sound like reader",  # the encoder has learnt nothing
        }
        assert (
            float(re.findall(r"From (\S+) s of speech", task(page).inner_text().replace("\u00a0", " "))[0])
            > 1.5
        )
        hum = 0.1 * np.sin(2 * np.pi * 100 * np.arange(48_000) / 16_000)
        choose(page, {"name": "hum.wav", "mimeType": "audio/wav", "buffer": encoded(hum)})
        refused = task(page).get_by_role("alert").filter(has_text="There is no speech in the recording")
        refused.get_by_text("Speak a sentence or two, close to the microphone.").wait_for()


# --- dropped files -------------------------------------------------------------------------------------------


@pytest.fixture
def dropped(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Writes a file that can be dropped."""

    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@in_a_browser
def test_files_are_dropped_one_or_several_at_once(
    address: str, page_of: Opener, dropped: Callable[[str, bytes], Path]
) -> None:
    page = page_of(address)
    first, second, third = (dropped(f"{i}.wav", encoded(voice(OTHER, 60 + i, 3.0))) for i in range(3))
    drop(page, task(page).locator(".recorder"), first, second)
    page.get_by_text("Say who it is first.").wait_for()  # a drop is no way around consent
    assert page.get_by_text("None yet.").is_visible()
    agree(page, "dropper")
    drop(page, task(page).locator(".recorder"), first, second)
    rows = page.get_by_role("list", name="Recordings of this person").get_by_role("listitem")
    assert [row.locator(".take-about").inner_text().split(",")[0] for row in rows.all()] == [
        "Recording 1 0.wav",
        "Recording 2 1.wav",
    ]
    page.get_by_role("button", name="Enrol with 2 recordings").click()
    answered(page, "dropper is enrolled")

    verify_enrolled(page, "dropper")
    drop(page, page.locator("#verify-title"), third)  # anywhere on the task
    assert answer_of(page) == "Accepted: this sounds like dropper"
    drop(page, task(page).locator(".recorder"), first, second)
    page.get_by_text("One recording at a time, please.").wait_for()
    go(page, "Identify")
    drop(page, task(page).locator(".recorder"), third)
    assert answer_of(page) == "This sounds like dropper"
    with httpx.Client() as client:  # whose voice other tests take for nobody's
        client.delete(f"{address}/v1/voiceprint", params={"name": "dropper"}).raise_for_status()


@in_a_browser
def test_what_is_dropped_and_no_recording_is_told_so_and_opened_nowhere(
    address: str, page_of: Opener, dropped: Callable[[str, bytes], Path]
) -> None:
    page = page_of(f"{address}/#identify")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    panel = task(page).locator(".recorder")
    letter, voice_of_mine = dropped("letter.pdf", b"%PDF"), dropped("a.wav", encoded(voice(MINE, 63, 3.0)))
    drop(page, panel, letter)
    panel.get_by_role("alert").filter(has_text="letter.pdf is no recording. Choose wav, flac").wait_for()
    go(page, "Enrol")
    agree(page, "letter writer")
    drop(page, task(page).locator(".recorder"), voice_of_mine, letter)
    page.get_by_text("letter.pdf is no recording.").and_(page.locator(":visible")).wait_for()
    assert page.get_by_text("None yet.").is_visible()
    assert "POST" not in sent

    go(page, "Identify")
    drop(page, panel, dropped("named.wav", b"no sound at all, whatever its name says"))
    task(page).locator(".outcome").get_by_role("alert").filter(has_text="not-audio").wait_for()
    drop(page, panel, dropped("nothing.wav", b""))
    panel.get_by_role("alert").filter(has_text="nothing.wav is empty: it has 0 bytes.").wait_for()
    drop(page, page.get_by_role("heading", name="What this does not do"), voice_of_mine)  # a miss
    go(page, "Voiceprints")
    drop(page, page.locator("#voiceprints-title"), voice_of_mine)
    page.wait_for_timeout(300)  # the browser would open it by now, here or beside
    assert [one.url for one in page.context.pages] == [f"{address}/#voiceprints"]


# --- manners -------------------------------------------------------------------------------------------------


@in_a_browser
def test_nobody_is_recorded_or_read_from_a_file_before_they_agree(address: str, page_of: Opener) -> None:
    counted = """window.asked = 0; const real = navigator.mediaDevices.getUserMedia;
    navigator.mediaDevices.getUserMedia = (...a) => { asked += 1; return real.apply(navigator.mediaDevices, a); };"""
    page = page_of(address, counted)
    record_button = page.get_by_role("button", name="Record", exact=True)
    record_button.click()
    assert page.get_by_text("Say who it is first.").is_visible()
    assert page.evaluate("document.activeElement.id") == "enrol-name"
    page.get_by_label("Name of the person").fill("bob")
    record_button.click()
    assert page.get_by_text("Ask the person first").is_visible()
    task(page).locator("input[type=file]").click()  # opens no dialogue: the page would wait for it
    page.get_by_label("This person knows").check()
    page.get_by_label("Name of the person").fill("eve")
    page.keyboard.press("Tab")
    assert not page.get_by_label("This person knows").is_checked()
    assert page.evaluate("asked") == 0


@in_a_browser
def test_a_microphone_that_comes_after_its_task_was_left_is_closed(address: str, page_of: Opener) -> None:
    late = """window.tracks = []; const real = navigator.mediaDevices.getUserMedia;
    const given = new Promise((give) => (window.give = give));
    navigator.mediaDevices.getUserMedia = async (...a) => {
      await given;
      const stream = await real.apply(navigator.mediaDevices, a);
      tracks.push(...stream.getTracks());
      return stream;
    };"""
    page = page_of(f"{address}/#identify", late)
    task(page).get_by_role("button", name="Record", exact=True).click()
    task(page).get_by_text("Waiting for the microphone").wait_for()
    go(page, "Enrol")
    page.get_by_role("heading", name="Enrol a voice").wait_for()
    page.evaluate("give()")
    states = []
    for _ in range(100):
        if (states := page.evaluate("tracks.map((track) => track.readyState)")) == ["ended"]:
            break
        page.wait_for_timeout(100)
    assert states == ["ended"]
    go(page, "Identify")
    task(page).get_by_text("The microphone is off.").wait_for()
    record(page, 0.6)  # and it can be opened again


@in_a_browser
def test_a_recording_belongs_to_who_agreed_to_it(address: str, page_of: Opener) -> None:
    page = page_of(address)
    agree(page, "dora")
    choose(page, file(MINE, 50))
    start(page, 1.6)
    page.get_by_role("button", name="Enrol with 1 recording").click()
    answered(page, "dora is enrolled")  # with the recording that still ran
    assert "2 recordings" in task(page).locator(".outcome").inner_text()
    page.get_by_role("button", name="Record", exact=True).wait_for()
    assert page.get_by_text("None yet.").is_visible()

    for withdraw in ("another name", "no consent"):
        agree(page, "cy")
        start(page, 0.8)
        if withdraw == "another name":
            page.get_by_label("Name of the person").fill("eve")
            page.keyboard.press("Tab")
        else:
            page.get_by_label("This person knows").uncheck()
        page.get_by_role("button", name="Record", exact=True).wait_for()
        assert task(page).get_by_text("The microphone is off.").is_visible()
        assert page.get_by_text("None yet.").is_visible()


@in_a_browser
def test_what_the_page_does_not_do_stands_on_it(address: str, page_of: Opener) -> None:
    warning = page_of(address).get_by_role("region", name="What this does not do").inner_text()
    assert "Spoofing and replay are not detected." in warning
    assert "There is no liveness check." in warning


# --- keys ----------------------------------------------------------------------------------------------------


@in_a_browser
def test_a_key_is_asked_for_used_and_never_in_an_address(running: Running, page_of: Opener) -> None:
    page = page_of(running.address, ready=False)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("websocket", lambda socket: addresses.append(socket.url))
    field = page.get_by_label("Key of this service")
    field.wait_for()
    assert page.evaluate("document.activeElement.id") == "access-key"
    field.fill("wrong")
    field.press("Enter")
    page.get_by_text("The API key is wrong or was revoked.").wait_for()
    field.fill("ключ")
    field.press("Enter")
    page.get_by_text("The API key has characters that no key of this service has.").wait_for()

    key = running.texts[Scope.ADMIN]
    field.fill(key)
    page.get_by_role("button", name="Use this key").click()
    page.get_by_text("Ready. Model: spectra").wait_for()
    assert not field.is_visible()
    agree(page, "keyed")
    choose(page, file(MINE, 1, "a.wav"), file(MINE, 2, "b.wav"))
    page.get_by_role("button", name="Enrol with 2 recordings").click()
    page.get_by_text("keyed is enrolled").wait_for()
    verify_enrolled(page, "keyed")
    record(page, 1.6)
    assert answer_of(page) == "Accepted: this sounds like keyed"
    assert any(one.startswith("ws:") for one in addresses)
    assert not any(key in one or "keyed" in one for one in addresses)
    assert (
        page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        == '[{},{},""]'
    )

    page.reload()
    field.wait_for()  # forgotten
    field.fill(key)
    page.get_by_label("Keep it until this tab is closed").check()
    field.press("Enter")
    page.get_by_text("Ready. Model: spectra").wait_for()
    page.reload()
    page.get_by_text("Ready. Model: spectra").wait_for()
    with running.client() as client:
        client.delete("/voiceprint?name=keyed").raise_for_status()


@in_a_browser
def test_a_key_that_may_not_list_can_still_delete_by_name(running: Running, page_of: Opener) -> None:
    _, text = running.keys.create([Scope.DELETE])
    page = page_of(running.address, f"sessionStorage.setItem('voxangle-key', '{text}')")
    go(page, "Voiceprints")
    page.get_by_text("does not have the scope 'admin'").wait_for()
    page.get_by_label("Delete by name").fill("nobody of this name")
    task(page).get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_text("Nobody of this name is enrolled.").wait_for()


# --- what goes wrong -----------------------------------------------------------------------------------------


@in_a_browser
def test_refusals_are_told_in_the_service_s_words_with_their_cure(
    address: str, enrolled: str, page_of: Opener
) -> None:
    page = page_of(address)
    agree(page, enrolled)
    silent = {"name": "silent.wav", "mimeType": "audio/wav", "buffer": encoded(np.zeros(32_000))}
    choose(page, file(MINE, 20), silent)
    page.get_by_role("button", name="Enrol with 2 recordings").click()
    page.get_by_text("Somebody of this name is enrolled already.").wait_for()
    add = page.get_by_role("button", name="Add these recordings to the voiceprint")
    add.click()
    told = task(page).get_by_role("alert").filter(has_text="The recording is silent (recording 2)")
    told.get_by_text("Check that the microphone is on and not muted").wait_for()
    assert "refused" in page.get_by_role("listitem").filter(has_text="Recording 2").get_attribute("class")

    page.get_by_role("button", name="Remove recording 2").click()
    page.get_by_role("button", name="Enrol with 1 recording").click()
    add.click()
    page.get_by_text(f"Added to the voiceprint of {enrolled}").wait_for()

    go(page, "Verify")
    page.get_by_label("Who it is claimed to be").fill("nobody")
    task(page).get_by_role("button", name="Record", exact=True).click()
    page.get_by_text(
        "Nobody of this name is enrolled."
    ).wait_for()  # at once, and not after they spoke in vain
    task(page).get_by_text("The microphone is off.").wait_for()
    choose(page, {"name": "letter.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"})
    page.get_by_text("letter.pdf is no recording.").wait_for()


@in_a_browser
def test_what_is_too_much_is_told_before_it_is_sent(address: str, page_of: Opener) -> None:
    page = page_of(address)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    agree(page, "much")
    page.get_by_role("button", name="Enrol", exact=True).click()
    page.get_by_text("Record the person first, or choose a file.").wait_for()
    choose(page, *(file(MINE, 40) for _ in range(5)))
    page.get_by_role("button", name="Enrol with 5 recordings").click()
    page.get_by_text("This service takes 4 recordings at once.").wait_for()
    go(page, "Identify")
    choose(page, {"name": "long.wav", "mimeType": "audio/wav", "buffer": bytes(3 * 2**20)})
    page.get_by_text("3.0\u00a0MB are too much: this service takes 2.0\u00a0MB at once.").wait_for()
    assert "POST" not in sent


@in_a_browser
def test_a_service_that_is_gone_is_said_to_be_gone(address: str, enrolled: str, page_of: Opener) -> None:
    page = page_of(f"{address}/#verify", "const Real = WebSocket; window.WebSocket = class extends Real "
                   "{ constructor(url) { super(String(url).replace('stream', 'nothing')); } }")  # fmt: skip
    status = page.locator("#service")
    name = page.get_by_label("Who it is claimed to be")
    name.fill(enrolled)
    choose(page, file(MINE, 25))
    assert answer_of(page).startswith("Accepted")
    page.route("**/v1/**", lambda route: route.abort())
    choose(page, file(MINE, 25))
    task(page).get_by_role("alert").filter(has_text="The service does not answer").wait_for()
    assert not task(page).get_by_text("Accepted").is_visible()
    status.get_by_text("The service does not answer.").wait_for()
    record(page, 0.8)
    task(page).get_by_role("alert").filter(has_text="The service does not answer").wait_for()
    assert not task(page).get_by_text("Listening", exact=True).is_visible()
    page.unroute("**/v1/**")
    choose(page, file(MINE, 25))
    assert answer_of(page).startswith("Accepted")
    status.get_by_text("Ready. Model:").wait_for()


@in_a_browser
@pytest.mark.parametrize(
    ("name", "words"),
    [("NotAllowedError", "did not allow the microphone"), ("NotFoundError", "No microphone was found")],
)
def test_a_missing_microphone_leaves_files(
    address: str, enrolled: str, page_of: Opener, name: str, words: str
) -> None:
    refusing = (
        f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{name}'); }}"
    )
    page = page_of(f"{address}/#identify", refusing)
    task(page).get_by_role("button", name="Record", exact=True).click()
    task(page).get_by_role("alert").filter(has_text=words).wait_for()
    choose(page, file(MINE, 21))
    assert answer_of(page) == f"This sounds like {enrolled}"


@in_a_browser
def test_a_browser_whose_sound_does_not_start_is_not_waited_for(
    address: str, enrolled: str, page_of: Opener
) -> None:
    # As in Firefox on a machine without anything to play to.
    page = page_of(f"{address}/#identify", "AudioContext.prototype.resume = () => new Promise(() => {});")
    task(page).get_by_role("button", name="Record", exact=True).click()
    task(page).get_by_text("Waiting for the microphone").wait_for()
    task(page).get_by_role("alert").filter(has_text="connect a loudspeaker or headphones").wait_for()
    assert task(page).get_by_text("The microphone is off.").is_visible()
    choose(page, file(MINE, 21))
    assert answer_of(page) == f"This sounds like {enrolled}"


@in_a_browser
def test_where_sockets_do_not_get_through_the_recording_itself_does(
    address: str, enrolled: str, page_of: Opener
) -> None:
    page = page_of(f"{address}/#verify", "const Real = WebSocket; window.WebSocket = class extends Real "
                   "{ constructor(url) { super(String(url).replace('stream', 'nothing')); } }")  # fmt: skip
    page.get_by_label("Who it is claimed to be").fill(enrolled)
    record(page, 1.6)
    assert answer_of(page) == f"Accepted: this sounds like {enrolled}"


@in_a_browser
def test_names_are_text_and_never_markup(address: str, page_of: Opener) -> None:
    page = page_of(address)
    name = "<img src=x onerror=alert(1)>"
    agree(page, name)
    choose(page, file(OTHER, 1))
    page.get_by_role("button", name="Enrol with 1 recording").click()
    page.get_by_text(f"{name} is enrolled").wait_for()
    assert "make surer answers" in page.locator(".notes").inner_text()  # less than ten seconds of speech
    go(page, "Voiceprints")
    page.get_by_role("button", name=f"Delete {name}").click()
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_text(f"{name} is deleted").wait_for()
    assert page.locator("main img").count() == 0


# --- decisions -----------------------------------------------------------------------------------------------


@in_a_browser
def test_the_decision_follows_prior_costs_and_the_card_s_threshold(
    address: str, enrolled: str, page_of: Opener
) -> None:
    page = page_of(f"{address}/#verify")
    page.get_by_label("Who it is claimed to be").fill(enrolled)
    task(page).get_by_text("What the decision assumes").click()
    prior = task(page).get_by_label("Prior of one voice")
    prior.fill("0")
    choose(page, file(MINE, 22))
    assert task(page).get_by_role("alert").filter(has_text="must be").is_visible()
    prior.fill("0.1")
    task(page).get_by_label("Cost of a false acceptance").fill("1000000")
    choose(page, file(MINE, 22))
    assert answer_of(page).startswith("Rejected")
    assert "at a prior of 0.10\u00a0%" in task(page).inner_text()
    task(page).get_by_label("Decide by").select_option("eer")
    choose(page, file(MINE, 22))
    answered(page, "Accepted")
    said = task(page).inner_text()
    assert "cosine 0.500, eer: no trials" in said
    assert "The model’s card knows none." in said


@in_a_browser
def test_error_rates_are_the_card_s_or_said_to_be_unknown(address: str, page_of: Opener) -> None:
    page = page_of(address)
    rates = """async ([answer, thresholds]) => {
      const { ratesAt } = await import("/page/rates.js");
      const made = ratesAt(answer, { thresholds });
      const rows = made.slice(1).flatMap((one) => [...one.querySelectorAll("tr")]);
      return [made[0].textContent, rows.map((row) => [...row.cells].map((cell) => cell.textContent))];
    }"""

    def known(name: str, value: float, accepted: float | None, rejected: float | None) -> dict[str, Any]:
        ratio = 20 * value - 10
        rates = {"false_acceptance": accepted, "false_rejection": rejected}
        return {"name": name, "value": value, "source": "40 trials", "log_likelihood_ratio": ratio, **rates}

    def said(by: str | None, threshold: float | None, name: str, *thresholds: dict[str, Any]) -> Any:
        answer = {"decided_by": by, "threshold": threshold, "threshold_name": name}
        text, rows = page.evaluate(rates, [answer, thresholds])
        return text.replace("\u00a0", " "), [[cell.replace("\u00a0", " ") for cell in row] for row in rows]

    eer, strict = known("eer", 0.5, 0.07, 0.07), known("far-1%", 0.6, 0.01, 0.184)
    table = [
        ["Threshold", "False acceptances", "False rejections"],
        ["eer, from 0.500", "7 %", "7 %"],
        ["far-1%, from 0.600", "1 %", "18.4 %"],
    ]
    ratio = "log_likelihood_ratio"
    at_eer = "7 % false acceptances, 7 % false rejections (40 trials)."
    assert said("score", 0.5, "eer", strict, eer) == (at_eer, [])
    assert said(ratio, 1.5, "bayes", strict, eer) == (
        "1 % to 7 % false acceptances, 7 % to 18.4 % false rejections: the threshold lies between eer and far-1%.",
        table,
    )
    assert said(ratio, 2.5, "bayes", strict, eer)[0] == (
        "At most 1 % false acceptances, at least 18.4 % false rejections: the threshold lies above far-1%."
    )
    assert said(ratio, -0.5, "bayes", eer, strict)[0] == (
        "At least 7 % false acceptances, at most 7 % false rejections: the threshold lies below eer."
    )
    assert said(ratio, 1e-9, "bayes", eer, strict) == (at_eer, table)
    assert said("score", 0.55, "given", eer, strict)[0].endswith("the threshold lies between eer and far-1%.")
    # A ratio that measures of quality move is at no one score.
    moved = [{**one, "log_likelihood_ratio": None} for one in (eer, strict)]
    assert said(ratio, 1.5, "bayes", *moved) == (
        "The model’s card does not know them at this log-likelihood ratio, but where the cosine score decides:",
        table,
    )
    assert said(ratio, 1.5, "bayes") == ("The model’s card knows none.", [])
    assert said(ratio, 1.5, "bayes", known("eer", 0.5, None, None))[0] == "The model’s card knows none."
    assert said(None, None, "", eer) == ("Nothing decides, so there are none.", [])


@in_a_browser
def test_how_much_worse_it_can_be_stands_below_every_answer(
    address: str, enrolled: str, page_of: Opener
) -> None:
    page = page_of(f"{address}/#verify")
    page.get_by_label("Who it is claimed to be").fill(enrolled)
    choose(page, file(MINE, 26))
    answer_of(page)
    page.get_by_role("link", name="Identify").click()
    arrived(page, "Identify")
    choose(page, file(MINE, 26))
    answer_of(page)
    for place in (page.locator("#verify"), page.locator("#identify"), page.locator("#model")):
        said = place.text_content().replace("\u00a0", " ")
        assert "On the 4 lists of the model’s card the error rate was 1.1 % at best (studio)" in said
        assert "and 31 % at worst." in said
    told = page.locator("#identify .measured")
    assert told.get_by_role("listitem").all_inner_texts() == [
        *("street: 31\u00a0%", "shop: 12\u00a0%", "car: 8\u00a0%")
    ]
    told.get_by_text("All 4 lists, and what the rate means").click()
    table = told.get_by_role("region", name="Error rates by list")
    assert [head.inner_text() for head in table.get_by_role("rowheader").all()] == [
        *("street", "shop", "car", "studio")
    ]
    assert table.get_by_role("row", name="shop").inner_text().replace("\u00a0", " ").split("\t")[1:] == [
        *("12 %", "6 % to 24 %", "12")
    ]
    assert "50\u00a0% is what tossing a coin gives." in told.inner_text()
    assert "studio, street, car, shop: Only 12 speakers." in told.inner_text()


@in_a_browser
def test_a_list_is_named_by_what_is_spoken_in_it(address: str, page_of: Opener) -> None:
    page = page_of(address)
    made = """async (measured) => {
      const { measuredBox } = await import("/page/measured.js");
      return measuredBox({ measured }).textContent;
    }"""
    rest = {"low": 0.1, "high": 0.4, "speakers": 9, "notes": []}
    known = {"trials": "wuw", "condition": "English over the telephone", "eer": 0.22, **rest}
    other = {"trials": "lobby", "condition": None, "eer": 0.02, **rest}
    assert "no other voices, rooms or languages" in page.evaluate(made, [])
    alone = page.evaluate(made, [known]).replace("\u00a0", " ")
    assert alone.startswith("On the one list of the model’s card, English over the telephone, the")
    assert "worst were" not in alone
    both = page.evaluate(made, [other, known]).replace("\u00a0", " ")
    assert "2 % at best (lobby)" in both
    assert "English over the telephone: 22 %" in both


@in_a_browser
def test_an_answer_is_of_what_was_asked_when_the_recording_began(
    address: str, enrolled: str, page_of: Opener
) -> None:
    page = page_of(f"{address}/#verify")
    name = page.get_by_label("Who it is claimed to be")
    history = page.get_by_role("list", name="This visit")
    name.fill(enrolled)
    start(page, 1.6)
    name.fill("bob")
    task(page).get_by_role("button", name="Stop").click()
    assert answer_of(page) == f"Accepted: this sounds like {enrolled}"
    assert f"{enrolled}: accepted" in history.inner_text()
    assert "bob" not in history.inner_text()

    name.fill(enrolled)
    start(page, 1.6)
    choose(page, file(OTHER, 23))  # and the microphone is off
    answered(page, f"Rejected: this does not sound like {enrolled}")
    task(page).get_by_text("The microphone is off.").wait_for()

    name.fill("nobody")
    choose(page, file(OTHER, 23))
    name.fill("bob")
    history.get_by_text("nobody: There is no such voiceprint").wait_for()


@in_a_browser
def test_nothing_is_decided_by_a_rule_that_does_not_hold(
    address: str, enrolled: str, page_of: Opener
) -> None:
    page = page_of(f"{address}/#identify")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    task(page).get_by_text("What the decision assumes").click()
    prior = task(page).get_by_label("Prior of somebody enrolled")
    prior.fill("")
    choose(page, file(MINE, 24))
    task(page).locator(".rule").get_by_role("alert").wait_for()
    prior.fill("10")
    start(page, 1.6)
    prior.fill("")
    task(page).get_by_role("button", name="Stop").click()
    page.get_by_text("Nothing was compared yet").wait_for()
    again = task(page).get_by_role("button", name="Compare this recording")
    again.click()
    assert page.evaluate("document.activeElement.className") == "rule-prior"
    assert "POST" not in sent
    prior.fill("20")
    again.click()
    assert answer_of(page).startswith("This sounds like ")  # others here were enrolled with the same voice
    assert "at a prior of 20\u00a0%" in task(page).inner_text()

    sent.clear()
    go(page, "Verify")
    page.get_by_label("Who it is claimed to be").fill(enrolled)
    task(page).get_by_text("What the decision assumes").click()
    prior = task(page).get_by_label("Prior of one voice")
    prior.fill("")
    choose(page, file(MINE, 24))
    task(page).locator(".rule").get_by_role("alert").wait_for()
    assert "POST" not in sent
    page.evaluate(
        "WebSocket.prototype.send = function () { this.close(); }"
    )  # so that the recording itself is sent
    prior.fill("30")
    start(page, 1.6)
    prior.fill("")
    task(page).get_by_role("button", name="Stop").click()
    answer_of(page)
    assert "at a prior of 30\u00a0%" in task(page).inner_text()


# --- for everybody -------------------------------------------------------------------------------------------


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_task_is_readable_named_and_fits_a_phone(
    address: str, enrolled: str, page_of: Opener, scheme: str
) -> None:
    page = page_of(
        address, viewport={"width": 360, "height": 740}, color_scheme=scheme, reduced_motion="reduce"
    )
    page.get_by_role("button", name="Record", exact=True).click()  # and is told what is missing
    assert faults(page) == []
    agree(page, "a name so long that it has to be broken somewhere: " + 40 * "w")
    choose(page, file(MINE, 30))
    assert faults(page) == []
    go(page, "Verify")
    page.get_by_label("Who it is claimed to be").fill(enrolled)
    start(page, 1.4)
    assert faults(page) == []
    assert page.evaluate("document.getAnimations().length") == 0
    task(page).get_by_role("button", name="Stop").click()
    answer_of(page)
    task(page).get_by_text("What was measured").click()
    task(page).get_by_text("what the rate means").click()
    page.locator("#model").get_by_text("what the rate means").click()
    task(page).get_by_text("What the decision assumes").click()
    assert faults(page) == []
    page.get_by_label("Who it is claimed to be").fill("nobody")
    choose(page, file(MINE, 31))
    page.get_by_text("There is no such voiceprint").first.wait_for()
    assert faults(page) == []
    go(page, "Identify")
    choose(page, file(OTHER, 31))
    answer_of(page)
    assert faults(page) == []
    go(page, "Voiceprints")
    page.get_by_role("button", name=f"Delete {enrolled}").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1200, "height": 900})
    assert faults(page) == []


@in_a_browser
def test_the_narrowest_phone_breaks_no_tab_and_cuts_nothing_off(
    address: str, enrolled: str, page_of: Opener
) -> None:
    page = page_of(f"{address}/#identify", viewport={"width": 320, "height": 640})
    choose(page, file(MINE, 32))
    assert answer_of(page) == f"This sounds like {enrolled}"
    assert faults(page) == []
    for tab in page.get_by_role("navigation").get_by_role("link").all():
        lines = tab.evaluate("""one => {
          const range = document.createRange();
          range.selectNodeContents(one);
          return range.getClientRects().length;
        }""")
        assert lines == 1, tab.inner_text()
    task(page).get_by_text("what the rate means").click()
    assert faults(page) == []
    lists = task(page).get_by_role("region", name="Error rates by list")
    assert lists.evaluate("one => one.scrollWidth - one.clientWidth") == 0
    table = task(page).get_by_role("region", name="Candidates")
    assert table.evaluate("one => one.scrollWidth - one.clientWidth") == 0
    assert table.get_by_role("columnheader").count() == 4  # it is a table still
    assert table.get_by_role("rowheader", name=enrolled, exact=True).count() == 1


@in_a_browser
def test_everything_can_be_done_by_keyboard(address: str, page_of: Opener) -> None:
    page = page_of(address)
    keys = page.keyboard

    def tab_to(role: str, name: str) -> None:
        wanted = page.get_by_role(role, name=name, exact=True)
        for _ in range(30):
            keys.press("Tab")
            if wanted.evaluate("one => one === document.activeElement"):
                outline = wanted.evaluate("one => getComputedStyle(one).outlineStyle")
                assert outline != "none", f"the focus of {name} cannot be seen"
                return
        raise AssertionError(f"{name} cannot be reached")

    keys.press("Tab")
    keys.press("Enter")  # skips to the tasks
    tab_to("textbox", "Name of the person")
    keys.type("keyboardist")
    tab_to("checkbox", "This person knows what is kept and what it is used for, and agrees.")
    keys.press("Space")
    tab_to("button", "Record")
    keys.press("Enter")
    page.get_by_role("button", name="Stop").wait_for()
    while float(task(page).get_by_role("timer").inner_text().split()[0]) < 1.6:
        page.wait_for_timeout(50)
    keys.press("Space")
    page.get_by_role("button", name="Enrol with 1 recording").wait_for()
    tab_to("button", "Enrol with 1 recording")
    keys.press("Enter")
    answered(page, "keyboardist is enrolled")
    tab_to("button", "Verify the voice of keyboardist")
    keys.press("Enter")
    page.locator("#verify-title:focus").wait_for()
    page.reload()
    keys.press("Tab")
    tab_to("link", "Voiceprints")
    keys.press("Enter")
    page.get_by_role("button", name="Delete keyboardist").wait_for()
    tab_to("button", "Delete keyboardist")
    keys.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Keep it"  # the harmless one first
    keys.press("Tab")
    keys.press("Enter")
    answered(page, "keyboardist is deleted")


@in_a_browser
def test_what_changes_is_told_to_who_hears_the_page(address: str, enrolled: str, page_of: Opener) -> None:
    page = page_of(f"{address}/#verify")
    meter = task(page).get_by_role("meter")
    assert meter.get_attribute("aria-valuetext") == "The microphone is off"
    page.get_by_label("Who it is claimed to be").fill(enrolled)
    start(page, 1.6)
    meter.and_(page.locator("[aria-valuetext*='The level is good.']")).wait_for()
    assert -60 < int(meter.get_attribute("aria-valuenow")) < 0
    task(page).get_by_role("button", name="Stop").click()
    answer_of(page)
    spoken = task(page).locator(".unseen[role=status]").inner_text()
    assert spoken.startswith(f"Accepted: this sounds like {enrolled}. Probability of one voice ")
    scale = task(page).get_by_role("img").get_attribute("aria-label")
    assert re.match(r"Log-likelihood ratio \S+ on a scale from -10 .* the threshold is 0\.00\.$", scale)


# --- sound ---------------------------------------------------------------------------------------------------


@in_a_browser
def test_the_level_is_judged_by_the_loudest_of_the_last_moment(address: str, page_of: Opener) -> None:
    page = page_of(address)
    hear = """async ([rate, blocks]) => {
      const { LevelJudge } = await import("/page/level.js");
      const judge = new LevelJudge(rate);
      return blocks.map((block) => judge.hear(Float32Array.from(block)));
    }"""

    def states(*parts: tuple[float, float]) -> list[str]:
        """What is said at the end of each part, given its amplitude and seconds."""
        blocks, ends = [], []
        for amplitude, seconds in parts:
            wave = amplitude * np.sin(2 * np.pi * 50 * np.arange(int(800 * seconds)) / 800)
            blocks += [block.tolist() for block in np.clip(wave, -1, 1).reshape(-1, 80)]
            ends.append(len(blocks) - 1)
        found = page.evaluate(hear, [800, blocks])
        return [found[end]["state"] for end in ends]

    assert states((0.001, 1.0), (0.001, 1.0)) == ["waiting", "quiet"]
    assert states((0.1, 1.0), (0.001, 1.0), (0.001, 1.0)) == ["good", "good", "quiet"]
    assert states((3.0, 1.0), (0.1, 1.0), (0.1, 1.0)) == ["clipping", "clipping", "good"]
    (one,) = page.evaluate(hear, [800, [[0.5] * 80]])
    assert one["level"] == pytest.approx(20 * np.log10(0.5), abs=1e-3)


@in_a_browser
def test_what_was_recorded_is_sent_as_it_was(address: str, page_of: Opener) -> None:
    page = page_of(address)
    made = page.evaluate(
        """async (blocks) => {
          const { wavFile } = await import("/page/wav.js");
          const file = wavFile(blocks.map((one) => Float32Array.from(one)), 44100, "a.wav");
          return [file.type, [...new Uint8Array(await file.arrayBuffer())]];
        }""",
        [[0.0, 0.5, -0.5], [1.0, -1.0, 1.5, -7.0]],
    )
    assert made[0] == "audio/wav"
    samples, rate = soundfile.read(io.BytesIO(bytes(made[1])), dtype="int16")
    assert rate == 44_100
    assert samples.tolist() == [0, 16384, -16383, 32767, -32767, 32767, -32767]


@in_a_browser
def test_a_slip_of_the_finger_is_no_recording(address: str, page_of: Opener) -> None:
    silent = """AudioContext.prototype.createMediaStreamSource = () => ({ connect: (node) => node });"""
    page = page_of(f"{address}/#identify", silent)  # nothing is heard yet, however slow the hand
    button = task(page).get_by_role("button")
    button.nth(0).click()
    task(page).get_by_role("button", name="Stop").click()
    page.get_by_text("That was too short to hold a voice.").wait_for()
    assert not task(page).locator(".outcome").inner_text()
