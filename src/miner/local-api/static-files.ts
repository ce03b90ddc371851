/** Serves the built dashboard. Its files hold nothing secret; what they show comes over the WebSocket, with the token. */
import { readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { FailureError } from "../../protocol/failure.ts";

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".map": "application/json; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".woff2": "font/woff2",
};

/** Headers of every answer: the page may load its own files and talk to this daemon, and nothing else. */
export function securityHeaders(port: number): Readonly<Record<string, string>> {
  return {
    "content-security-policy": [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self' 'unsafe-inline'", // the component library adds style elements
      "img-src 'self' data:",
      "font-src 'self' data:",
      `connect-src 'self' ws://127.0.0.1:${port} ws://localhost:${port}`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join("; "),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
  };
}

/** Answers with the file at `path` below `folder`. Rejects with `FailureError` not-found. */
export async function serveFile(response: ServerResponse, folder: string | undefined, path: string): Promise<void> {
  const file = folder === undefined ? undefined : fileBelow(folder, path === "/" ? "/index.html" : path);
  const contentType = file && contentTypes[extname(file)];
  if (file === undefined || contentType === undefined) throw notFound(path);
  const bytes = await readFile(file).catch(() => {
    throw notFound(path);
  });
  response.writeHead(200, { "content-type": contentType, "content-length": bytes.length });
  response.end(response.req.method === "HEAD" ? undefined : bytes);
}

/** The file's place, or undefined when the path leads out of the folder. */
function fileBelow(folder: string, path: string): string | undefined {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return undefined; // a stray percent sign
  }
  const root = normalize(folder + sep);
  const file = join(root, decoded);
  return file.startsWith(root) && !decoded.includes("\0") ? file : undefined;
}

function notFound(path: string): FailureError {
  const action = path === "/" ? "The dashboard is not built here; build it with npm start." : "";
  return new FailureError("not-found", `there is no ${JSON.stringify(path.slice(0, 200))} here`, { action });
}
