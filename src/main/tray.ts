/** The tray icon: what this machine is doing, why, and the few things one does without opening the window. */
import { join } from "node:path";
import { Menu, Tray } from "electron";
import type { MachineView, MinerState } from "../protocol/machine-view.ts";
import { stageNames } from "../protocol/stage-names.ts";

export interface TrayActions {
  readonly open: () => void;
  readonly start: () => void;
  readonly pause: () => void;
  readonly quit: () => void;
}

type TrayIcon = "training" | "waiting" | "paused" | "attention";

const iconOf: Readonly<Record<MinerState["kind"], TrayIcon>> = {
  connecting: "waiting",
  waiting: "waiting",
  preparing: "training",
  training: "training",
  merging: "training",
  paused: "paused",
  stopped: "attention",
};

export class StateTray {
  readonly #tray: Tray;
  readonly #assets: string;
  readonly #actions: TrayActions;

  constructor(appFolder: string, actions: TrayActions) {
    this.#assets = join(appFolder, "assets");
    this.#actions = actions;
    this.#tray = new Tray(this.#icon("waiting"));
    this.#tray.on("click", actions.open);
    this.show(undefined);
  }

  /** Undefined: no daemon answers. */
  show(machine: Pick<MachineView, "state" | "intent"> | undefined): void {
    const text = machine ? stateText(machine.state) : "Looking for the daemon";
    this.#tray.setImage(this.#icon(machine ? iconOf[machine.state.kind] : "waiting"));
    this.#tray.setToolTip(`Train at Home: ${text}`);
    const { open, start, pause, quit } = this.#actions;
    this.#tray.setContextMenu(
      Menu.buildFromTemplate([
        { label: text, enabled: false },
        { type: "separator" },
        { label: "Open", click: open },
        { label: "Start", click: start, enabled: machine?.intent === "pause" },
        { label: "Pause", click: pause, enabled: machine?.intent === "run" },
        { type: "separator" },
        { label: "Quit", click: quit },
      ]),
    );
  }

  #icon(name: TrayIcon): string {
    return join(this.#assets, `tray-${name}.png`);
  }
}

/** `training, stage 2`; `paused: Paused by you. Start resumes.` */
export function stateText(state: MinerState): string {
  const stage = "stages" in state ? `, ${stageNames(state.stages)}` : "";
  return `${state.kind}${stage}${state.reason && `: ${state.reason}`}`;
}
