/** Serves the built dashboard at app://train-at-home, an origin of its own with a policy of its own, instead of file://. */
import { readFile } from "node:fs/promises";
import { extname, join, normalize, sep } from "node:path";
import type { Protocol } from "electron";
import { appOrigin, appScheme, isAppPage } from "./navigation.ts";

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff2": "font/woff2",
};

/** The page loads its own files and speaks to the preload bridge only: it makes no connection at all. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'", // the component library adds style elements
  "img-src 'self' data:",
  "font-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Before the app is ready. */
export function registerAppScheme(protocol: Protocol): void {
  protocol.registerSchemesAsPrivileged([{ scheme: appScheme, privileges: { standard: true, secure: true } }]);
}

export function serveDashboard(protocol: Protocol, folder: string): void {
  protocol.handle(appScheme, async ({ url }) => {
    const file = fileFor(url, folder);
    const contentType = file && contentTypes[extname(file)];
    const body = file && contentType ? await readFile(file).catch(() => undefined) : undefined;
    if (body === undefined || contentType === undefined) return new Response("not found", { status: 404 });
    const headers = {
      "content-type": contentType,
      "content-security-policy": contentSecurityPolicy,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    };
    return new Response(new Uint8Array(body), { headers });
  });
}

function fileFor(url: string, folder: string): string | undefined {
  const path = isAppPage(url) ? decodePath(new URL(url, appOrigin).pathname) : undefined;
  if (path === undefined) return undefined;
  const root = normalize(folder + sep);
  const file = join(root, path === "/" ? "index.html" : path);
  return file.startsWith(root) ? file : undefined;
}

function decodePath(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined; // a stray percent sign
  }
}
