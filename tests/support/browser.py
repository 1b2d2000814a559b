"""Chromium without a window, driven over the DevTools protocol, and JupyterLab in it.

https://chromedevtools.github.io/devtools-protocol/ describes the calls. jupyter_server brings the client for the
WebSocket.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support import environment, wait_until

SHIFT, CONTROL = 8, 2  # bits of ``modifiers`` of Input.dispatchKeyEvent
KEYS = {"Enter": 13, "s": 83}
SECONDS = 60.0


def missing_browser() -> str:
    """Why no browser can be started; empty where one can."""
    return "" if _chromium() else "there is no chromium on PATH"


def _chromium() -> str:
    return next(
        (
            found
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (found := shutil.which(name))
        ),
        "",
    )


class Browser:
    """One tab of a browser of its own."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 900) -> None:
        words = [
            _chromium(),
            "--headless=new",
            "--remote-debugging-port=0",
            "--remote-allow-origins=*",
            f"--user-data-dir={folder}",
            f"--window-size={width},{height}",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = folder / "DevToolsActivePort"
        wait_until(lambda: port_file.is_file() and len(port_file.read_text().split()) > 1, SECONDS)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        import websocket

        self._socket = websocket.create_connection(
            pages[0]["webSocketDebuggerUrl"], timeout=SECONDS, suppress_origin=True
        )
        self._number = 0
        self.call("Page.enable")
        self.size(width, height)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; dialogs that a page opens before it is left are accepted."""
        self._number += 1
        number = self._number
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "Page.javascriptDialogOpening":
                self._socket.send(
                    json.dumps({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}})
                )
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])

    def value(self, script: str) -> Any:
        """The value of an expression of JavaScript, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, script: str, seconds: float = SECONDS) -> Any:
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + seconds
        while True:
            with suppress(RuntimeError):
                if found := self.value(script):
                    return found
            assert time.monotonic() < end, f"not true after {seconds:g} s: {script}"
            time.sleep(0.05)

    def text(self) -> str:
        """What can be read on the page."""
        return str(self.value("document.body.innerText"))

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press and release a key."""
        named = {
            "key": key,
            "code": key if len(key) > 1 else f"Key{key.upper()}",
            "windowsVirtualKeyCode": KEYS[key],
        }
        typed = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", modifiers=modifiers, **named, **typed)
        self.call("Input.dispatchKeyEvent", type="keyUp", modifiers=modifiers, **named)

    def type(self, text: str) -> None:
        """Type text where the cursor is."""
        self.call("Input.insertText", text=text)

    def size(self, width: int, height: int) -> None:
        """Give the window a size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def picture(self, path: Path) -> None:
        """Write what is to be seen now as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End the browser."""
        with suppress(Exception):
            self._socket.close()
        self._process.terminate()
        self._process.wait(10)


class Lab:
    """A notebook that is open in JupyterLab."""

    PANEL = "[...window.jupyterapp.shell.widgets('main')].find(w => w.content?.widgets && w.sessionContext)"
    CELLS = f"{PANEL}.content"

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser, self._address = browser, address

    def open(self, name: str) -> None:
        """Open a notebook, or load its page anew, and wait until its kernel can be used."""
        self.browser.call("Page.navigate", url=f"{self._address}/lab/tree/{name}")
        self.browser.until("document.readyState == 'complete'")
        self.browser.until("window.jupyterapp && window.jupyterapp.restored.then(() => true)")
        self.browser.until(f"{self.CELLS}.widgets.length > 1")
        self.browser.until(
            f"{self.PANEL}.sessionContext.ready.then(() => !!{self.PANEL}.sessionContext.session.kernel)"
        )

    def run(self, cell: str, *, wait: bool = True, seconds: float = SECONDS) -> str:
        """Press Shift-Enter in a cell, by its id; return what it shows when it is over."""
        self.select(cell)
        before = self.value(cell, "model.executionCount")
        self.browser.press("Enter", SHIFT)
        if not wait:
            return ""
        self.wait(cell, before, seconds)
        return self.shown(cell)

    def select(self, cell: str) -> None:
        """Make a cell the active one, with the keyboard at it."""
        index = f"{self.CELLS}.widgets.findIndex(w => w.model.id == {json.dumps(cell)})"
        self.browser.value(
            f"(() => {{ window.jupyterapp.shell.activateById({self.PANEL}.id); const n = {self.CELLS}; "
            f"n.activeCellIndex = {index}; n.mode = 'command'; n.activate(); n.scrollToItem(n.activeCellIndex); }})()"
        )

    def wait(self, cell: str, before: object, seconds: float = SECONDS) -> None:
        """Wait until a cell has been executed once more."""
        self.browser.until(
            f"{self.at(cell)}.model.executionCount && {self.at(cell)}.model.executionCount != {json.dumps(before)}",
            seconds,
        )
        self.idle(seconds)

    def value(self, cell: str, what: str) -> Any:
        """A property of a cell's widget."""
        return self.browser.value(f"{self.at(cell)}.{what}")

    def shown(self, cell: str) -> str:
        """What a cell's outputs say."""
        return str(self.value(cell, "outputArea?.node.innerText") or "")

    def edit(self, cell: str, old: str, new: str) -> None:
        """Replace text in the source of a cell."""
        source = str(self.value(cell, "model.sharedModel.getSource()"))
        assert source.count(old) == 1, (old, source)
        self.value(cell, f"model.sharedModel.setSource({json.dumps(source.replace(old, new))})")

    def save(self) -> None:
        """Save the notebook."""
        self.browser.value("window.jupyterapp.commands.execute('docmanager:save').then(() => true)")

    def answer(self, text: str, seconds: float = SECONDS) -> None:
        """Type an answer where the kernel asks for one; JupyterLab may take the cursor away meanwhile."""
        found = "document.querySelector('.jp-Stdin-input')"
        self.browser.until(f"!!{found}", seconds)
        end = time.monotonic() + seconds
        while self.browser.value(f"!!{found}"):
            assert time.monotonic() < end, "the answer was not taken"
            self.browser.value(f"{found} && ({found}.focus(), {found}.value = '')")
            self.browser.type(text)
            if self.browser.value(f"document.activeElement?.value == {json.dumps(text)}"):
                self.browser.press("Enter")
            time.sleep(0.2)

    def idle(self, seconds: float = SECONDS) -> None:
        """Wait until no cell runs or waits to be run."""
        self.browser.until(
            f"{self.CELLS}.widgets.every(w => !['running', 'scheduled'].includes(w.model.executionState))",
            seconds,
        )

    def interrupt(self) -> None:
        """Interrupt the kernel, as the button does."""
        self.browser.value("window.jupyterapp.commands.execute('notebook:interrupt-kernel').then(() => true)")

    def at(self, cell: str) -> str:
        """The expression for a cell's widget."""
        return f"{self.CELLS}.widgets.find(w => w.model.id == {json.dumps(cell)})"


@contextmanager
def jupyterlab(folder: Path, settings: Path, *, dark: bool = False, **variables: str) -> Iterator[str]:
    """JupyterLab on a folder; yields its address."""
    themes = settings / "lab" / "@jupyterlab"
    for name, content in {
        "apputils-extension/themes": {"theme": "JupyterLab Dark" if dark else "JupyterLab Light"},
        "apputils-extension/notification": {"checkForUpdates": False, "fetchNews": "false"},
        "notebook-extension/tracker": {"windowingMode": "none"},
    }.items():
        path = themes / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={folder}",
        "--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.terminals_enabled=False",
    ]  # fmt: skip
    given = environment() | {
        "JUPYTERLAB_SETTINGS_DIR": str(settings / "lab"),
        "JUPYTERLAB_WORKSPACES_DIR": str(settings / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(settings / "config"),
        "JUPYTER_RUNTIME_DIR": str(settings / "runtime"),
        **variables,
    }
    address = f"http://127.0.0.1:{port}"
    with (settings / "server.txt").open("wb") as output:
        server = subprocess.Popen(words, env=given, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: _answers(address) or server.poll() is not None, 60)
        assert server.poll() is None, (settings / "server.txt").read_text()
        yield address
    finally:
        server.terminate()
        server.wait(20)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/api", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
