/** Where the window may go: nowhere but to the app's own page. Links to known places open in the person's browser. */
import type { Session, Shell, WebContents } from "electron";

export const appScheme = "app";
export const appOrigin = `${appScheme}://train-at-home`;
export const appPage = `${appOrigin}/index.html`;

const linkedHosts: ReadonlySet<string> = new Set(["github.com", "www.gutenberg.org", "www.apache.org"]);

export function isAppPage(url: string): boolean {
  return url === appOrigin || url.startsWith(`${appOrigin}/`);
}

export function isAllowedLink(url: string): boolean {
  const parsed = URL.parse(url);
  return parsed?.protocol === "https:" && linkedHosts.has(parsed.host) && parsed.username === "";
}

/** Denies what a page could do beyond showing the dashboard. */
export function confine(contents: WebContents, shell: Shell): void {
  contents.on("will-navigate", (event) => {
    if (!isAppPage(event.url)) event.preventDefault();
  });
  contents.on("will-redirect", (event) => event.preventDefault());
  contents.on("will-attach-webview", (event) => event.preventDefault());
  contents.setWindowOpenHandler(({ url }) => {
    if (isAllowedLink(url)) void shell.openExternal(url);
    return { action: "deny" };
  });
}

/** No page gets the camera, notifications, devices or anything else that needs a permission. */
export function denyPermissions(session: Session): void {
  session.setPermissionRequestHandler((_contents, _permission, decide) => decide(false));
  session.setPermissionCheckHandler(() => false);
  session.setDevicePermissionHandler(() => false);
}
