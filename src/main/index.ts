/**
 * The Electron shell: a window and a tray icon for a daemon that is a process of its own. It attaches to a daemon that runs, or
 * starts one. What trains, and what is shown, is not here; this folder imports `miner` (to find the daemon) and `protocol`.
 */
import { join } from "node:path";
import { app, type BrowserWindow, ipcMain, protocol, session } from "electron";
import { answeringDaemonIn, findAnsweringDaemon } from "../miner/find-daemon.ts";
import { type AppView, applyApiEvent } from "../protocol/app-view.ts";
import { shellExitCodes } from "../protocol/shell-exit-codes.ts";
import { connectPages } from "./api-bridge.ts";
import { registerAppScheme, serveDashboard } from "./app-protocol.ts";
import { DaemonLink } from "./daemon-link.ts";
import { DaemonProcess, daemonProgram } from "./daemon-process.ts";
import { denyPermissions } from "./navigation.ts";
import { StateTray } from "./tray.ts";
import { openWindow } from "./window.ts";

const appFolder = app.getAppPath();
/** Given by whoever started a daemon and this shell for it: the daemon's state folder. */
const daemonFolder = app.commandLine.getSwitchValue("daemon");

let window: BrowserWindow | undefined;
let quitting = false;

// A second start shows the window of the first.
if (app.requestSingleInstanceLock()) start();
else app.exit(shellExitCodes.alreadyOpen);

function start(): void {
  registerAppScheme(protocol);
  const ownDaemon = daemonFolder ? Promise.resolve(undefined) : startDaemonUnlessOneRuns();
  const link = new DaemonLink(() => (daemonFolder ? answeringDaemonIn(daemonFolder) : findAnsweringDaemon()));
  connectPages(ipcMain, link);
  app.on("second-instance", () => void showWindow());
  app.on("activate", () => void showWindow());
  // The training goes on without a window; the tray icon stays.
  app.on("window-all-closed", () => undefined);
  app.on("before-quit", (event) => {
    if (quitting) return;
    quitting = true;
    event.preventDefault();
    link.close();
    void ownDaemon.then((daemon) => daemon?.stop()).finally(() => app.quit());
  });
  void link.run();
  void app.whenReady().then(async () => {
    denyPermissions(session.defaultSession);
    serveDashboard(protocol, join(appFolder, "dist", "renderer"));
    showInTray(link);
    await showWindow();
  });
}

async function showWindow(): Promise<void> {
  if (window && !window.isDestroyed()) {
    if (window.isMinimized()) window.restore();
    window.show();
    window.focus();
    return;
  }
  window = await openWindow(appFolder);
}

function showInTray(link: DaemonLink): void {
  const ask = (command: "start" | "pause") => {
    link.call(command, {}).catch((error: unknown) => console.error(`${command}:`, error));
  };
  const tray = new StateTray(appFolder, {
    open: () => void showWindow(),
    start: () => ask("start"),
    pause: () => ask("pause"),
    quit: () => app.quit(),
  });
  let view: AppView | null = null;
  link.subscribe((event) => {
    view = applyApiEvent(view, event);
    tray.show(view?.state.machine);
  });
}

async function startDaemonUnlessOneRuns(): Promise<DaemonProcess | undefined> {
  if ((await findAnsweringDaemon()) !== undefined) return undefined;
  return new DaemonProcess(daemonProgram(app.isPackaged, process.resourcesPath, appFolder));
}
