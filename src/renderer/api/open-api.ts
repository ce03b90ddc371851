import { BridgeApi } from "./bridge-api.ts";
import type { DashboardApi } from "./dashboard-api.ts";
import { WebSocketApi } from "./websocket-api.ts";

const tokenKey = "train-at-home-token";

/** The bridge in the Electron window; in a browser tab the WebSocket of the daemon that served the page. */
export function openApi(): DashboardApi {
  if (window.trainAtHome) return new BridgeApi(window.trainAtHome);
  const address = new URL("api", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.search = new URLSearchParams({ token: takeToken() }).toString();
  return new WebSocketApi(address.href);
}

/** Moves the token out of the address bar, where it would end up in the history and on screenshots, into this tab's memory. */
function takeToken(): string {
  const address = new URL(location.href);
  const given = address.searchParams.get("token");
  if (given === null) return sessionStorage.getItem(tokenKey) ?? "";
  sessionStorage.setItem(tokenKey, given);
  address.searchParams.delete("token");
  history.replaceState(null, "", address.href);
  return given;
}
