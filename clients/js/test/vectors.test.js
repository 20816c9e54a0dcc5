/** Everything in `docs/vectors.json`, in Node. In a browser it is done by `browser.test.js`. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { PROMISES } from "../support/vectors.js";

const vectors = JSON.parse(readFileSync(new URL("../../../docs/vectors.json", import.meta.url), "utf8"));

test("every kind of vector is known here, and has vectors", () => {
  const { about, ...kinds } = vectors;
  assert.match(about, /Test vectors/);
  assert.deepEqual(Object.keys(kinds).toSorted(), Object.keys(PROMISES).toSorted());
  for (const [kind, given] of Object.entries(kinds)) assert.ok(Object.keys(given).length > 0, kind);
});

for (const [kind, promise] of Object.entries(PROMISES)) {
  test(`the vectors of ${kind} are as promised`, () => promise(vectors[kind]));
}
