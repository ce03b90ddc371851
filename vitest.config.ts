import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.{ts,tsx}", "test/**/*.test.{ts,tsx}"],
    // Tests start whole local networks: more at once only makes each of them slower on a small machine.
    maxWorkers: 2,
    // No test puts keys into the key store of whoever runs it.
    env: { TAH_KEY_STORE: "file" },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
