/**
 * The dashboard: a page that shows what the daemon knows and passes on what the person asks. It is served by the daemon to a
 * browser tab and loaded by the Electron shell, and imports nothing but `src/protocol`.
 *
 * `api` reaches the daemon, `state` holds what it told, `features` show it, `components` are shared, `strings` are the texts.
 */
import "./api/schemas-without-eval.ts";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { openApi } from "./api/open-api.ts";
import { App } from "./app.tsx";
import { FaultBoundary } from "./components/fault-boundary.tsx";
import { applyTheme } from "./components/theme.ts";
import { ApiProvider, follow } from "./state/store.ts";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/header.css";
import "./styles/figures.css";
import "./styles/controls.css";
import "./styles/network.css";
import "./styles/reading.css";
import "./styles/dialog.css";

applyTheme();
const api = openApi();
follow(api);

const root = document.getElementById("root");
if (!root) throw new Error("index.html lacks #root");
createRoot(root).render(
  <StrictMode>
    <FaultBoundary>
      <ApiProvider value={api}>
        <App />
      </ApiProvider>
    </FaultBoundary>
  </StrictMode>,
);
