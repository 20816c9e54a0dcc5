/** As much of `node:assert` as the vectors need, for browsers have none. */

/** @param {unknown} right @param {string} [message] */
export function ok(right, message = "not so") {
  if (!right) throw new Error(message);
}

/** Alike all through: numbers, texts, and lists of such. @param {unknown} found @param {unknown} wanted @param {string} [what] */
export function equal(found, wanted, what = "") {
  const [one, other] = [found, wanted].map((value) => JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `${part}n` : part === undefined ? "undefined" : part)));
  ok(one === other, `${what}: ${one} where ${other} was wanted`);
}

/**
 * It must fail, and the error must be like that.
 * @param {() => unknown} act may be a promise's
 * @param {Record<string, unknown>} like
 * @param {string} what
 */
export async function fails(act, like, what) {
  /** @type {any} */
  let error;
  try {
    await act();
  } catch (thrown) {
    error = thrown;
  }
  ok(error instanceof Error, `${what}: it did not fail`);
  for (const [key, wanted] of Object.entries(like)) equal(error[key], wanted, `${what}: ${key} of ${error.message}`);
}
