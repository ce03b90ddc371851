/** Makes `switch` over a union exhaustive: a new case that is not handled fails to compile. */
export function assertNever(value: never): never {
  throw new Error(`unexpected ${JSON.stringify(value)}`);
}
