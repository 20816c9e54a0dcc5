/** Two peered providers of the real binary (`DIALTONE_BIN`), on free ports of 127.0.0.1, in a folder that goes away. */

import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

/** The binary; `undefined`: none was named. */
export const BINARY = process.env.DIALTONE_BIN;

export class Providers {
  /** Starts them: `dialtone up`, with all that it does. */
  static async start() {
    const folder = await mkdtemp(join(tmpdir(), "dialtone-js-"));
    const child = spawn(BINARY, ["up", "--json", "--data", join(folder, "up"), "--http-port", "0", "--dns-port", "0", "--peering-port", "0"], {
      env: { ...process.env, HOME: folder },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((done) => child.once("exit", done));
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        if (line.startsWith("{")) return new Providers(folder, child, ended, JSON.parse(line));
      }
      throw new Error("it ended without saying where its providers are");
    } catch (error) {
      child.kill("SIGKILL");
      await rm(folder, { recursive: true });
      throw error;
    }
  }

  constructor(folder, child, ended, { providers, sample }) {
    this.folder = folder;
    this.child = child;
    this.ended = ended;
    this.urls = providers.map(({ url }) => url);
    this.names = providers.map(({ name }) => name);
    this.sample = sample.name;
  }

  /** Runs the command; what it prints is JSON, or text. */
  async run(...args) {
    const { stdout } = await promisify(execFile)(BINARY, args, { cwd: this.folder, env: { ...process.env, HOME: this.folder } });
    return args.includes("--json") ? JSON.parse(stdout) : stdout.trim();
  }

  /** Makes a key, and with it a name. */
  key(file) {
    return this.run("key", "new", join(this.folder, file));
  }

  /** Publishes at the first, and waits until it is visible at the second. */
  publish(file, ...flags) {
    const [first, second] = this.urls;
    return this.run("publish", "--key", join(this.folder, file), "--provider", first, "--wait-visible-at", second, "--json", ...flags);
  }

  /** Stops them, and takes the folder away. */
  async stop() {
    this.child.kill("SIGTERM");
    await this.ended;
    await rm(this.folder, { recursive: true });
  }
}
