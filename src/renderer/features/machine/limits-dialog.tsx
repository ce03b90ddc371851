import { type FormEvent, useId, useState } from "react";
import { Button } from "react-aria-components/Button";
import type { ConnectionRules } from "../../../protocol/machine-view.ts";
import { reasonOf } from "../../components/answer.ts";
import { useApi, useAppState, useDashboard } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";
import { MachineDialog } from "./machine-dialog.tsx";

const texts = strings.limits;

/** What this machine may send and receive. */
export function LimitsDialog() {
  return (
    <MachineDialog texts={{ ...texts, close: texts.cancel }}>{(close) => <LimitsForm onDone={close} />}</MachineDialog>
  );
}

function LimitsForm({ onDone }: { readonly onDone: () => void }) {
  const api = useApi();
  const connected = useDashboard(({ connection }) => connection.kind === "open");
  const rules = useAppState((state) => state.machine.connection);
  const [upload, setUpload] = useState(textOf(rules.maxUploadMbps));
  const [download, setDownload] = useState(textOf(rules.maxDownloadMbps));
  const [onMetered, setOnMetered] = useState(rules.onMetered);
  const [problem, setProblem] = useState<string | null>(null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await api.call("limit", { maxUploadMbps: capOf(upload), maxDownloadMbps: capOf(download), onMetered });
      onDone();
    } catch (error) {
      setProblem(reasonOf(error));
    }
  };
  return (
    <form className="limits" onSubmit={save}>
      <CapField label={texts.upload} value={upload} onChange={setUpload} />
      <CapField label={texts.download} value={download} onChange={setDownload} />
      <label className="limits-metered">
        <input
          type="checkbox"
          checked={onMetered === "allow"}
          onChange={({ target }) => setOnMetered(target.checked ? "allow" : "pause")}
        />
        {texts.metered}
      </label>
      <Button className="button primary" type="submit" isDisabled={!connected}>
        {texts.save}
      </Button>
      {problem !== null && (
        <p className="problem" role="alert">
          {texts.failed(problem)}
        </p>
      )}
    </form>
  );
}

interface CapFieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

function CapField({ label, value, onChange }: CapFieldProps) {
  const id = useId();
  return (
    <p className="limits-cap">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type="number"
        min={0.1}
        max={100_000}
        step="any"
        placeholder={texts.none}
        value={value}
        onChange={({ target }) => onChange(target.value)}
      />
      <span className="unit">{strings.units.megabits}</span>
    </p>
  );
}

function textOf(cap: ConnectionRules["maxUploadMbps"]): string {
  return cap === null ? "" : String(cap);
}

/** The browser checks what is typed before the form is sent; nothing means no limit. */
function capOf(text: string): ConnectionRules["maxUploadMbps"] {
  return text.trim() === "" ? null : Number(text);
}
