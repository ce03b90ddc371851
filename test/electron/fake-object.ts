/** A fake that fails loudly: whatever it does not implement throws, so that no test passes by accident. */
export function fakeObject<T extends object>(name: string, implementation: T): T {
  return new Proxy(implementation, {
    get(target, property) {
      if (property in target || typeof property === "symbol" || property === "then") {
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === "function" ? value.bind(target) : value;
      }
      throw new Error(`the fake ${name} does not implement ${property}`);
    },
  });
}
