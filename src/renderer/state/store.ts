/** The one place where the page's state lives. Components take what they show by a selector and render when that changes. */
import { createContext, useContext } from "react";
import { create } from "zustand";
import type { AppLists, AppState } from "../../protocol/machine-view.ts";
import type { DashboardApi } from "../api/dashboard-api.ts";
import { applyEvent, type Dashboard, emptyDashboard } from "./dashboard.ts";

export const useDashboard = create<Dashboard>()(() => emptyDashboard);

/** Keeps the store in step with the daemon; returns the function that ends it. */
export function follow(api: DashboardApi): () => void {
  const ends = [
    api.onConnection((connection) => useDashboard.setState({ connection })),
    api.subscribe((event) => useDashboard.setState((dashboard) => applyEvent(dashboard, event), true)),
  ];
  return () => {
    for (const end of ends) end();
  };
}

/** For the parts of the page that only show once there is a snapshot. */
export function useAppState<T>(select: (state: AppState) => T): T {
  return useDashboard((dashboard) => select(known(dashboard).state));
}

/** Likewise. */
export function useAppLists<T>(select: (lists: AppLists) => T): T {
  return useDashboard((dashboard) => select(known(dashboard).lists));
}

function known({ view }: Dashboard): NonNullable<Dashboard["view"]> {
  if (!view) throw new Error("shown before the first snapshot");
  return view;
}

const ApiContext = createContext<DashboardApi | null>(null);
export const ApiProvider = ApiContext.Provider;

export function useApi(): DashboardApi {
  const api = useContext(ApiContext);
  if (!api) throw new Error("used outside ApiProvider");
  return api;
}
