import { join } from "node:path";
import { BrowserWindow, shell } from "electron";
import { appPage, confine } from "./navigation.ts";

/** The dashboard's window. Closing it leaves the training running; the tray opens it again. */
export async function openWindow(appFolder: string): Promise<BrowserWindow> {
  const window = new BrowserWindow({
    width: 1280,
    height: 860,
    minWidth: 640,
    minHeight: 480,
    show: false,
    title: "Train at Home",
    icon: join(appFolder, "assets", "icon.png"),
    backgroundColor: "#0f1214",
    autoHideMenuBar: true,
    webPreferences: {
      preload: join(appFolder, "dist", "preload", "index.cjs"),
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
      webSecurity: true,
      webviewTag: false,
      spellcheck: false,
    },
  });
  confine(window.webContents, shell);
  window.once("ready-to-show", () => window.show());
  await window.loadURL(appPage);
  return window;
}
