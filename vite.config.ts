/** Builds the dashboard: static files that the daemon serves and that the Electron shell loads, so every address is relative. */
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  root: "src/renderer",
  base: "./",
  publicDir: false,
  plugins: [react()],
  build: {
    outDir: "../../dist/renderer",
    emptyOutDir: true,
    // What runs it: the shell's own Chromium, or a person's current browser.
    target: "esnext",
    cssTarget: "chrome134",
    sourcemap: false,
    reportCompressedSize: true,
    // A small file in a data: address would need a wider content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1000,
  },
});
