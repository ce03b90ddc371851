/**
 * A fake of the part of Electron that the shell uses, because its binary cannot be had everywhere. The built main process and
 * preload script run unmodified against it: their messages pass through a structured clone, the page's side of the bridge is
 * copied as contextBridge does. A window shows nothing; loading it fetches the page through the app's own protocol handler.
 */
import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { acrossContexts } from "./fake-context-bridge.ts";
import { fakeObject } from "./fake-object.ts";

type Handler = (...args: unknown[]) => unknown;

export interface FakeElectronOptions {
  readonly appPath: string;
  readonly switches: Readonly<Record<string, string>>;
  /** Whether another instance holds the lock. */
  readonly anotherInstance: boolean;
}

export interface FakeMenuItem {
  readonly label?: string;
  readonly enabled?: boolean;
  readonly click?: () => void;
}

/** One page in one window: what its preload script exposed, and whence it was loaded. */
export class FakePage {
  readonly exposed: Record<string, unknown> = {};
  readonly response: Response;
  constructor(response: Response) {
    this.response = response;
  }
}

export class FakeWebContents extends EventEmitter {
  readonly id: number;
  readonly toPage = new EventEmitter();
  url = "";
  windowOpenHandler: ((details: { url: string }) => { action: string }) | undefined;
  constructor(id: number) {
    super();
    this.id = id;
  }
  send(channel: string, ...args: unknown[]): void {
    this.toPage.emit(channel, {}, ...structuredClone(args));
  }
  setWindowOpenHandler(handler: NonNullable<FakeWebContents["windowOpenHandler"]>): void {
    this.windowOpenHandler = handler;
  }
}

export interface FakeWindowOptions {
  readonly webPreferences: { readonly preload: string } & Readonly<Record<string, unknown>>;
}

export class FakeElectron {
  readonly app: EventEmitter;
  readonly ipcMain = new EventEmitter();
  readonly handlers = new Map<string, Handler>();
  readonly permissions: Record<string, Handler> = {};
  readonly openedLinks: string[] = [];
  readonly windows: FakeWindow[] = [];
  readonly trays: FakeTray[] = [];
  readonly quit: Promise<number>;
  /** What `import … from "electron"` gives the main process. */
  readonly mainModule: Readonly<Record<string, unknown>>;
  protocolHandler: ((request: { url: string }) => Promise<Response>) | undefined;
  privilegedSchemes: unknown;
  readonly #firstPage = Promise.withResolvers<FakePage>();

  constructor({ appPath, switches, anotherInstance }: FakeElectronOptions) {
    const quit = Promise.withResolvers<number>();
    this.quit = quit.promise;
    const events = new EventEmitter();
    this.app = fakeObject(
      "app",
      Object.assign(events, {
        isPackaged: false,
        commandLine: fakeObject("app.commandLine", { getSwitchValue: (name: string) => switches[name] ?? "" }),
        getAppPath: () => appPath,
        requestSingleInstanceLock: () => !anotherInstance,
        whenReady: () => Promise.resolve(),
        quit() {
          let prevented = false;
          events.emit("before-quit", { preventDefault: () => (prevented = true) });
          if (!prevented) quit.resolve(0);
        },
        exit: (code: number) => quit.resolve(code),
      }),
    );
    this.mainModule = this.#createMainModule();
  }

  /** The page of the window that is opened first. */
  get firstPage(): Promise<FakePage> {
    return this.#firstPage.promise;
  }

  #createMainModule(): Readonly<Record<string, unknown>> {
    const electron = this;
    const permission = (name: string) => ({ [name]: (handler: Handler) => (this.permissions[name] = handler) });
    return {
      app: this.app,
      BrowserWindow: class extends FakeWindow {
        constructor(options: FakeWindowOptions) {
          super(options, electron);
        }
      },
      Tray: class extends FakeTray {
        constructor(image: string) {
          super(image);
          electron.trays.push(this);
        }
      },
      Menu: fakeObject("Menu", { buildFromTemplate: (items: readonly FakeMenuItem[]) => items }),
      ipcMain: fakeObject(
        "ipcMain",
        Object.assign(this.ipcMain, {
          handle: (channel: string, handler: Handler) => this.handlers.set(channel, handler),
        }),
      ),
      protocol: fakeObject("protocol", {
        registerSchemesAsPrivileged: (schemes: unknown) => (this.privilegedSchemes = schemes),
        handle: (_scheme: string, handler: FakeElectron["protocolHandler"]) => (this.protocolHandler = handler),
      }),
      session: fakeObject("session", {
        defaultSession: fakeObject("session.defaultSession", {
          ...permission("setPermissionRequestHandler"),
          ...permission("setPermissionCheckHandler"),
          ...permission("setDevicePermissionHandler"),
        }),
      }),
      shell: fakeObject("shell", { openExternal: async (url: string) => void this.openedLinks.push(url) }),
    };
  }

  async load(window: FakeWindow, url: string): Promise<void> {
    if (!this.protocolHandler) throw new Error("the page is loaded before its protocol is handled");
    const page = new FakePage(await this.protocolHandler({ url }));
    window.webContents.url = url;
    window.webContents.emit("did-navigate");
    runPreload(window.options.webPreferences.preload, this.#preloadModule(window.webContents, page));
    window.emit("ready-to-show");
    this.#firstPage.resolve(page);
  }

  /** What the preload script may require. */
  #preloadModule(sender: FakeWebContents, page: FakePage): Readonly<Record<string, unknown>> {
    const event = () => ({ sender, senderFrame: { url: sender.url, parent: null } });
    return fakeObject("electron module of the preload", {
      contextBridge: fakeObject("contextBridge", {
        exposeInMainWorld: (name: string, api: unknown) => (page.exposed[name] = acrossContexts(api)),
      }),
      ipcRenderer: fakeObject("ipcRenderer", {
        on: (channel: string, listener: Handler) => sender.toPage.on(channel, listener),
        send: (channel: string, ...args: unknown[]) => this.ipcMain.emit(channel, event(), ...structuredClone(args)),
        invoke: async (channel: string, ...args: unknown[]) => this.invoke(channel, event(), ...args),
      }),
    });
  }

  async invoke(channel: string, event: unknown, ...args: unknown[]): Promise<unknown> {
    const handler = this.handlers.get(channel);
    if (!handler) throw new Error(`nobody handles ${channel}`);
    return structuredClone(await handler(event, ...structuredClone(args)));
  }
}

export class FakeWindow extends EventEmitter {
  readonly options: FakeWindowOptions;
  readonly webContents: FakeWebContents;
  readonly shown: string[] = [];
  readonly #electron: FakeElectron;
  constructor(options: FakeWindowOptions, electron: FakeElectron) {
    super();
    this.options = options;
    this.#electron = electron;
    this.webContents = fakeObject("webContents", new FakeWebContents(electron.windows.push(this)));
  }
  loadURL(url: string): Promise<void> {
    return this.#electron.load(this, url);
  }
  show(): void {
    this.shown.push("show");
  }
  focus(): void {
    this.shown.push("focus");
  }
  isDestroyed(): boolean {
    return false;
  }
  isMinimized(): boolean {
    return false;
  }
}

export class FakeTray extends EventEmitter {
  image: string;
  toolTip = "";
  menu: readonly FakeMenuItem[] = [];
  constructor(image: string) {
    super();
    this.image = image;
  }
  setImage(image: string): void {
    this.image = image;
  }
  setToolTip(text: string): void {
    this.toolTip = text;
    this.emit("fake-change");
  }
  setContextMenu(menu: readonly FakeMenuItem[]): void {
    this.menu = menu;
  }
}

/** As in the sandbox: the script gets a `require` that knows Electron and nothing else. */
function runPreload(file: string, electronModule: unknown): void {
  const require = (name: string) => {
    if (name === "electron") return electronModule;
    throw new Error(`a sandboxed preload cannot require ${name}`);
  };
  new Function("require", readFileSync(file, "utf8"))(require);
}
