/** IP addresses as people write them. */

/** @param {Uint8Array} ip 4 or 16 bytes @returns {string} dotted, or as RFC 5952 wants IPv6 */
export function ipText(ip) {
  if (ip.length === 4) return ip.join(".");
  const groups = Array.from({ length: 8 }, (_, at) => ((ip[2 * at] << 8) | ip[2 * at + 1]).toString(16));
  // The longest run of zeros, the first of equals, if it has two at least.
  let [start, length] = [0, 1];
  for (let at = 0; at < 8; at++) {
    let to = at;
    while (to < 8 && groups[to] === "0") to++;
    if (to - at > length) [start, length] = [at, to - at];
  }
  if (length < 2) return groups.join(":");
  return `${groups.slice(0, start).join(":")}::${groups.slice(start + length).join(":")}`;
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer> | undefined} 4 or 16 bytes; `undefined`: no address */
export function parseIp(text) {
  if (/^(?:\d{1,3}\.){3}\d{1,3}$/.test(text)) {
    const parts = text.split(".").map(Number);
    return parts.every((part, at) => part < 256 && String(part) === text.split(".")[at]) ? Uint8Array.from(parts) : undefined;
  }
  const halves = text.split("::");
  const [head, tail] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const given = [...head, ...(tail ?? [])];
  const whole = tail ? given.length < 8 : given.length === 8;
  if (halves.length > 2 || !whole || !given.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  const groups = [...head, ...Array(8 - given.length).fill("0"), ...(tail ?? [])];
  return Uint8Array.from(groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]));
}
