// Chromium, Firefox and WebKit: a browser is opened once, at a page that asks for one task after the other.
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finish, start } from "./child.mjs";
import { serve } from "./serve.mjs";

const MINI = "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser";

// no first-run pages, no look-ups beyond this machine
const FIREFOX = {
  "browser.aboutwelcome.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.homepage_override.mstone": "ignore",
  "datareporting.policy.dataSubmissionEnabled": false,
  "toolkit.telemetry.reportingpolicy.firstRun": false,
  "app.update.disabledForTesting": true,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,",
};

const BROWSERS = {
  Chromium: {
    command: "/usr/bin/chromium",
    version: ["/usr/bin/chromium", "--version"],
    args: (profile, url) => [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--user-data-dir=${profile}`,
      url,
    ],
  },
  Firefox: {
    command: "/usr/bin/firefox-esr",
    version: ["/usr/bin/firefox-esr", "--version"],
    args: (profile, url) => ["--headless", "--no-remote", "--profile", profile, url],
    async prepare(profile) {
      const lines = Object.entries(FIREFOX).map(
        ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`,
      );
      await writeFile(join(profile, "user.js"), lines.join("\n"));
    },
  },
  WebKit: {
    command: MINI,
    version: ["dpkg-query", "-W", "webkit2gtk-driver"],
    needs: ["/usr/bin/xvfb-run", "/usr/bin/dbus-run-session"],
    args: (_, url) => ["--private", url],
    wrap: ["xvfb-run", "-a", "dbus-run-session", "--"],
  },
};

/** Opens a browser at `url`; `close` ends it. */
export async function openBrowser(name, url) {
  const { command, args, prepare, wrap = [] } = BROWSERS[name];
  const profile = await mkdtemp(join(tmpdir(), "wlq-profile-"));
  await prepare?.(profile);
  const [first, ...rest] = [...wrap, command, ...args(profile, url)];
  const env = { HOME: profile, XDG_RUNTIME_DIR: profile, WEBKIT_DISABLE_COMPOSITING_MODE: "1" };
  const child = start(first, rest, { env });
  return {
    child,
    async close() {
      child.stop();
      await child.ended;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Why a browser cannot run here, or undefined. */
export function missingBrowser(name) {
  const { command, needs = [] } = BROWSERS[name];
  const path = [command, ...needs].find((file) => !existsSync(file));
  return path && `${path} is not there`;
}

/** A page, or a Worker of a page, of each browser. */
export const browsers = Object.keys(BROWSERS).flatMap((browser) =>
  ["page", "Worker"].map((place) => ({
    name: `${browser}, ${place}`,
    // the second under a Content-Security-Policy that forbids Wasm
    probes: {
      threads: /^the same bytes, by two threads$/,
      refused: /^unsupported: .*pages need script-src 'wasm-unsafe-eval'/s,
    },
    async start(home) {
      const missing = missingBrowser(browser);
      if (missing) return { missing };
      const server = await serve(home, { worker: place === "Worker" });
      const { version } = BROWSERS[browser];
      const { child, close } = await openBrowser(browser, server.address);
      let ended = false;
      child.ended.then(() => {
        ended = true;
      });
      const { stdout } = await finish(version[0], version.slice(1));
      return {
        version: /\d+(\.\d+)+/.exec(stdout)?.[0] ?? "",
        async ask(task) {
          try {
            return await server.ask(task);
          } catch (error) {
            return {
              error: `${error.message}${ended ? "; the browser has ended" : ""}: ${child.output().slice(-1500)}`,
            };
          }
        },
        async stop() {
          await close();
          await server.close();
        },
      };
    },
  })),
);
