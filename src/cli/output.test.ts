import { expect, it } from "vitest";
import { failureSchema } from "../protocol/failure.ts";
import { Output } from "./output.ts";

it.each([true, false])("reports a bug to people, and as a failure to scripts (--json: %s)", (json) => {
  const written = { stdout: "", stderr: "" };
  const stdout = { write: (text: string) => (written.stdout += text) };
  const stderr = { write: (text: string) => (written.stderr += text) };
  new Output({ stdout, stderr }, json).bug(new TypeError(`it is null${"!".repeat(5000)}`));
  expect(written.stderr).toMatch(/^tah: this is a bug, please report it: TypeError: it is null/);
  if (!json) expect(written.stdout).toBe("");
  else {
    const failure = failureSchema.parse(JSON.parse(written.stdout).failure);
    expect(failure).toMatchObject({ code: "internal-error", message: expect.stringMatching(/^it is null/) });
  }
});
