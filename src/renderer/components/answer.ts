import { useEffect, useState } from "react";
import { failureOf } from "../../protocol/failure.ts";
import type { DashboardApi } from "../api/dashboard-api.ts";
import { useApi, useDashboard } from "../state/store.ts";

/** What the daemon answered to a question that needs no parameters. */
export type Answer<T> =
  | { readonly kind: "asking" }
  | { readonly kind: "answered"; readonly value: T }
  | { readonly kind: "failed"; readonly reason: string };

/** Asks when first shown, and again after each reconnect. `ask` must stay the same function. */
export function useAnswer<T>(ask: (api: DashboardApi) => Promise<T>): Answer<T> {
  const api = useApi();
  const connected = useDashboard(({ connection }) => connection.kind === "open");
  const [answer, setAnswer] = useState<Answer<T>>({ kind: "asking" });
  useEffect(() => {
    if (!connected) return;
    let shown = true;
    ask(api).then(
      (value) => shown && setAnswer({ kind: "answered", value }),
      (error: unknown) => shown && setAnswer({ kind: "failed", reason: reasonOf(error) }),
    );
    return () => {
      shown = false;
    };
  }, [api, ask, connected]);
  return answer;
}

export const askForChecks = (api: DashboardApi) => api.call("doctor", {});
export const askForProcesses = (api: DashboardApi) => api.call("processes", {});

/** In words, for the person who asked. */
export function reasonOf(error: unknown): string {
  return failureOf(error)?.message ?? (error instanceof Error ? error.message : String(error));
}
