"""A real headless Chromium, and what it complains of and asks for."""
from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

QUIET = "--disable-background-networking --disable-component-update --disable-sync --no-first-run"


class Browser:
    """A page of a size in a colour scheme, with its console and its requests."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def screen(self, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Give it another screen, and the system another theme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def open(self, path: Path) -> None:
        """Show a file on a screen of 1200x900, and wait until it has loaded."""
        self.screen()
        self.driver.get(address := path.resolve().as_uri())
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(address)}")

    def run(self, script: str, *words: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(f"return {script}", *words)

    def find(self, selector: str) -> Any:
        """The first element."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        """Every element."""
        return list(self.driver.find_elements("css selector", selector))

    def wait(self, script: str) -> Any:
        """Until a script gives something true, at most 10 s."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 10, poll_frequency=0.02).until(lambda _: self.run(script))

    def press(self, *keys: str) -> None:
        """Keys, to what has the focus."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver, duration=0).send_keys(key).perform()

    def drag(self, selector: str, right: int, down: int = 0) -> None:
        """Press on an element's middle, move, release."""
        from selenium.webdriver import ActionChains

        actions = ActionChains(self.driver, duration=20)
        actions.click_and_hold(self.find(selector)).move_by_offset(right, down).release().perform()

    def wheel(self, selector: str, right: int, down: int, by: int) -> None:
        """Turn the wheel over a point that far from an element's middle."""
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

        origin = ScrollOrigin.from_element(self.find(selector), right, down)
        ActionChains(self.driver, duration=0).scroll_from_origin(origin, 0, by).perform()

    def complaints(self) -> list[str]:
        """Of the console, since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses asked for since the last call."""
        events = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser: pip install selenium")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("Chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ["--headless", "--no-sandbox", "--disable-gpu", *QUIET.split(), f"--user-data-dir={profile}"]:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Browser(made)
    finally:
        made.quit()
