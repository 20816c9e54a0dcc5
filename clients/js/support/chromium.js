/** A real browser without a window, told what to do over a pipe (the DevTools protocol); nothing but Node and Chromium. */

import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The browser: `DIALTONE_CHROMIUM`, or one of the usual names; `undefined`: there is none. */
export function findChromium() {
  const names = process.env.DIALTONE_CHROMIUM ? [process.env.DIALTONE_CHROMIUM] : ["chromium", "chromium-browser", "google-chrome"];
  return names.find((name) => spawnSync(name, ["--version"]).status === 0);
}

export class Chromium {
  #child;
  #folder;
  #next = 1;
  #waiting = new Map();
  #session;
  #hand = (/** @type {any} */ _) => {};
  /** What the page said on its console, and what went wrong in it. */
  complaints = [];

  static async start(binary) {
    const folder = await mkdtemp(join(tmpdir(), "dialtone-chromium-"));
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--no-proxy-server"];
    const child = spawn(binary, [...flags, `--user-data-dir=${folder}`, "--remote-debugging-pipe", "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    const browser = new Chromium(child, folder);
    const { targetInfos } = await browser.#send("Target.getTargets");
    const { sessionId } = await browser.#send("Target.attachToTarget", { targetId: targetInfos.find(({ type }) => type === "page").targetId, flatten: true });
    browser.#session = sessionId;
    for (const domain of ["Page", "Runtime", "Log"]) await browser.send(`${domain}.enable`);
    return browser;
  }

  constructor(child, folder) {
    this.#child = child;
    this.#folder = folder;
    let held = "";
    child.stdio[4].setEncoding("utf8").on("data", (text) => {
      const messages = (held + text).split("\0");
      held = messages.pop();
      messages.forEach((message) => this.#hear(JSON.parse(message)));
    });
    child.once("exit", () => this.#waiting.forEach(({ fail }) => fail(new Error("the browser ended"))));
  }

  #hear({ id, result, error, method, params }) {
    if (id !== undefined) {
      const { done, fail } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) fail(new Error(error.message));
      else done(result);
    } else if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    else if (method === "Fetch.requestPaused") this.#hand(params);
    else if (method === "Log.entryAdded" && params.entry.level === "error") this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
  }

  #send(method, params = {}, sessionId = undefined) {
    const id = this.#next++;
    this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((done, fail) => this.#waiting.set(id, { done, fail }));
  }

  /** Tells the page something. */
  send(method, params) {
    return this.#send(method, params, this.#session);
  }

  /** What an expression comes to in the page. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until an expression is true in the page. */
  async until(expression, patienceMs = 15_000) {
    for (const end = Date.now() + patienceMs; Date.now() < end; ) {
      if (await this.evaluate(`Boolean(${expression})`).catch(() => false)) return;
      await new Promise((done) => setTimeout(done, 30));
    }
    throw new Error(`never true: ${expression}\n${this.complaints.join("\n")}\n${await this.evaluate("document.body?.innerText")}`);
  }

  /** Hands the page modules of our own, as if they were at `base`. */
  async serve(base, read) {
    this.#hand = async ({ requestId, request }) => {
      const body = (await read(request.url.slice(base.length))).toString("base64");
      const responseHeaders = [{ name: "content-type", value: "text/javascript" }];
      await this.send("Fetch.fulfillRequest", { requestId, responseCode: 200, responseHeaders, body });
    };
    await this.send("Fetch.enable", { patterns: [{ urlPattern: `${base}*` }] });
  }

  async open(url) {
    await this.send("Page.navigate", { url });
  }

  /** How large the window is, and whether its user likes it dark. */
  async appear({ width, height, dark = false }) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
  }

  async press(key, code = key) {
    const text = key === "Enter" ? "\r" : undefined;
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", key, code, text, windowsVirtualKeyCode: { Enter: 13, Tab: 9, ArrowRight: 39, ArrowDown: 40 }[key] });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", key, code });
  }

  /** A picture of the whole page, as PNG. */
  async picture() {
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    return Buffer.from(data, "base64");
  }

  async stop() {
    const ended = new Promise((done) => this.#child.once("exit", done));
    await Promise.race([this.#send("Browser.close").catch(() => {}), ended]);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 3_000);
    await ended;
    clearTimeout(timer);
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
