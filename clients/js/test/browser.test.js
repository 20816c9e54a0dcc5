/**
 * In a real browser: the page that a provider serves, and all vectors with the very modules that it serves. Takes `DIALTONE_BIN`, and a
 * Chromium (`DIALTONE_CHROMIUM`, or `chromium` on the path). With `DIALTONE_PICTURES` pictures of the page are written to that folder.
 */

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Chromium, findChromium } from "../support/chromium.js";
import { BINARY, Providers } from "../support/providers.js";

const chromium = BINARY && findChromium();
const skip = chromium ? false : `NOT TRIED: ${BINARY ? "there is no Chromium" : "set DIALTONE_BIN to the path of the binary `dialtone`"}`;
if (skip) console.error(`# test/browser.test.js: ${skip}`);

describe("the page in a real browser", { skip }, () => {
  /** @type {Providers} */
  let providers;
  /** @type {Chromium} */
  let browser;
  /** @type {string} */
  let page;
  const names = {};
  const texts = (selector) => browser.evaluate(`[...document.querySelectorAll(${JSON.stringify(selector)})].map((found) => found.textContent)`);
  const looked = async (name) => {
    await browser.open("about:blank"); // so that the page begins anew
    await browser.open(`${page}#${name}`);
    await browser.until(`document.querySelector("#found").getAttribute("aria-busy") === "false" && document.querySelector("#name").value === ${JSON.stringify(name)} && document.querySelector("#details .whole")?.textContent === ${JSON.stringify(name)}`);
  };
  const picture = async (name) => {
    if (process.env.DIALTONE_PICTURES) await writeFile(join(process.env.DIALTONE_PICTURES, `${name}.png`), await browser.picture());
  };

  before(async () => {
    providers = await Providers.start();
    for (const name of ["host", "other", "gone", "site", "front", "loop"]) names[name] = await providers.key(`${name}.key`);
    await providers.publish("host.key", "--address", "192.0.2.7,region=eu-1", "--address", "2001:db8::7,priority=1");
    await providers.publish("other.key", "--address", "198.51.100.9,region=us-2");
    const services = [`https:tcp:443,target=${names.host},alpn=h2+http/1.1`, `https:tcp:8443,target=${names.other},priority=1`, `ssh:tcp:22,target=${names.gone}`];
    await providers.publish("site.key", ...services.flatMap((service) => ["--service", service]), "--dns", "@ 300 TXT hello", "--opaque", "text/plain:<b>not markup</b>");
    await providers.publish("front.key", "--delegate", `${names.site},legacy.example`);
    await providers.publish("loop.key", "--delegate", names.loop);
    browser = await Chromium.start(chromium);
    page = `${providers.urls[1]}/look`; // published at the first, looked at at the second
  });
  after(async () => {
    await browser?.stop();
    await providers?.stop();
  });

  test("all vectors are as promised, with the modules that the provider serves", async () => {
    await browser.open(page);
    await browser.until(`document.querySelector("#provider a")`);
    await browser.serve(`${providers.urls[1]}/look/support/`, (file) => readFile(new URL(`../support/${file}`, import.meta.url)));
    const vectors = await readFile(new URL("../../../docs/vectors.json", import.meta.url), "utf8");
    const outcome = await browser.evaluate(`(async () => {
      const { PROMISES } = await import("/look/support/vectors.js");
      const { engine } = await import("/look/src/index.js");
      const { about, ...vectors } = ${vectors};
      const outcome = { engine: await engine() };
      for (const kind of new Set([...Object.keys(vectors), ...Object.keys(PROMISES)])) {
        try { await PROMISES[kind](vectors[kind]); outcome[kind] = "right"; } catch (error) { outcome[kind] = String(error); }
      }
      return outcome;
    })()`);
    const { engine, ...kinds } = outcome;
    assert.equal(engine, "webcrypto", "this browser has Ed25519");
    assert.ok(Object.keys(kinds).length >= 10);
    assert.deepEqual(Object.entries(kinds).filter(([, is]) => is !== "right"), []);
  });

  test("a name that is typed is drawn with its layers, each signature checked", async () => {
    await browser.appear({ width: 1280, height: 900 });
    await browser.open(page);
    await browser.until(`document.querySelector("#provider a")`);
    await browser.evaluate(`document.querySelector("#name").value = "dialtone:${names.front.toUpperCase()}"; document.querySelector("form").requestSubmit()`);
    await browser.until(`document.querySelectorAll(".checks li").length === 7`);
    assert.deepEqual(await texts("#layers .name .state"), [...Array(4).fill("✓ signature right"), "– no record"]);
    assert.deepEqual(await texts("#layers .name .via"), ["asked for", "stands in", "offers https", "offers https", "offers ssh"]);
    assert.deepEqual(await texts("#layers .name title"), [names.front, names.site, names.host, names.other, names.gone]);
    assert.deepEqual(await texts("#layers .place text"), ["192.0.2.7:443", "[2001:db8::7]:443", "198.51.100.9:8443"]);
    assert.deepEqual(await texts(".places .mono"), ["192.0.2.7:443", "[2001:db8::7]:443", "198.51.100.9:8443"]);
    assert.deepEqual(await texts(".checks .bad"), []);
    assert.match((await texts(".checks li")).at(-1), /WebCrypto/);
    assert.match((await texts("#summary"))[0], /4 records, every signature checked here/);
    await picture("wide");
  });

  test("one changed bit is refused before one's eyes, and the record as it is is right again", async () => {
    await looked(names.site);
    const press = () => browser.evaluate(`document.querySelector("#details button").click()`);
    await press();
    await browser.until(`document.querySelectorAll(".checks .bad").length === 1`);
    assert.match((await texts(".checks .bad"))[0], /The signature is that key's|one spelling/);
    await picture("broken");
    await press();
    await browser.until(`document.querySelectorAll(".checks .good").length === 7`);
  });

  test("it can be used with the keyboard alone", async () => {
    await looked(names.front);
    await browser.evaluate(`document.querySelector("#layers .name").focus()`);
    await browser.press("ArrowRight");
    await browser.press("Enter");
    await browser.until(`document.querySelector("#details .whole").textContent === "${names.site}"`);
    assert.equal(await browser.evaluate(`document.querySelector('#layers [aria-pressed="true"] title').textContent`), names.site);
    assert.ok((await texts("#details td")).some((text) => text.includes("<b>not markup</b>")), "and what a publisher wrote is text");
  });

  test("on a phone nothing is wider than the screen, in the light and in the dark", async () => {
    await looked(names.front);
    for (const dark of [false, true]) {
      await browser.appear({ width: 360, height: 740, dark });
      await browser.until(`Number(document.querySelector("#layers svg").getAttribute("width")) <= 360`);
      assert.ok((await browser.evaluate(`document.documentElement.scrollWidth`)) <= 360);
      await picture(dark ? "phone-dark" : "phone");
    }
    await browser.appear({ width: 1280, height: 900, dark: true });
    await browser.until(`Number(document.querySelector("#layers svg").getAttribute("width")) > 1000`);
    await picture("dark");
    await browser.appear({ width: 1280, height: 900 });
  });

  test("an absence is told as signed, a loop as one, and a slip of the finger as the reader's own", async () => {
    await looked(names.gone);
    assert.match((await texts("#details"))[0], new RegExp(`The provider ${providers.names[1]} signed at`));
    await looked(names.loop);
    assert.match((await texts("#layers .state")).join(), /a loop/);
    const slip = names.front.endsWith("y") ? "b" : "y";
    await browser.open(`${page}#${names.front.slice(0, -1)}${slip}`);
    await browser.until(`!document.querySelector("#trouble").hidden`);
    assert.match((await texts("#trouble"))[0], /checksum.*check what was typed/);
    await picture("typo");
  });

  test("the tag of a key leads to its name, and one that nobody has is said to", async () => {
    await looked(names.host);
    const [tag] = await texts("#details .tag");
    assert.match(tag, /^2001:25:/);
    await browser.open("about:blank");
    await browser.open(`${page}#${tag}`);
    await browser.until(`document.querySelector("#details .whole")?.textContent === "${names.host}"`);
    assert.equal(await browser.evaluate(`document.querySelector("#name").value`), tag);
    for (const [other, says] of [["2001:25::1", /no name whose key has the tag 2001:25::1/], ["2001:db8::1", /begins with 2001:25:/]]) {
      await browser.open("about:blank");
      await browser.open(`${page}#${other}`);
      await browser.until(`document.querySelector("#trouble") && !document.querySelector("#trouble").hidden`);
      assert.match((await texts("#trouble"))[0], says);
    }
  });

  test("a record that is older than one seen in an earlier visit is not believed", async () => {
    await looked(names.host);
    await browser.evaluate(`localStorage.setItem("dialtone/floor", JSON.stringify([["${names.host}", "7.0.1.${"0".repeat(64)}"]]))`);
    await browser.open("about:blank");
    await browser.open(`${page}#${names.host}`);
    await browser.until(`!document.querySelector("#trouble")?.hidden && document.querySelector("#trouble")`);
    assert.match((await texts("#trouble"))[0], /older than one already seen/);
    await browser.evaluate(`localStorage.clear()`);
  });

  test("the page says nothing wrong on its console, and its policy lets nothing in from elsewhere", async () => {
    assert.deepEqual(browser.complaints.filter((complaint) => !/status of 404.*v1.(records|hits)/.test(complaint)), []);
    for (const [what, blocked] of [
      ["a question elsewhere", `fetch(${JSON.stringify(providers.urls[0])} + "/v1/info")`],
      ["a script in line", `new Promise((done, fail) => { const made = document.createElement("script"); made.onerror = fail; window.ran = done; made.src = "data:text/javascript,ran()"; document.head.append(made); setTimeout(fail, 500); })`],
    ]) {
      assert.equal(await browser.evaluate(`(async () => ${blocked})().then(() => "let in", () => "kept out")`), "kept out", what);
    }
  });

  test("a page of another origin may read records, and nothing that is the operator's", async () => {
    await browser.open(`${providers.urls[0]}/healthz`);
    await browser.until(`location.origin === ${JSON.stringify(providers.urls[0])} && document.body`);
    const asked = (path) => browser.evaluate(`fetch(${JSON.stringify(providers.urls[1])} + ${JSON.stringify(path)}).then((answer) => answer.headers.get("etag") ?? answer.headers.get("dialtone-problem") ?? "", () => "kept out")`);
    assert.match(await asked(`/v1/records/${names.host}`), /^"0\.0\./);
    assert.equal(await asked(`/v1/records/${names.gone}`), "absent");
    assert.equal(await asked("/metrics"), "kept out");
  });
});
