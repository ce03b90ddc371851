/**
 * How Electron's contextBridge carries values between the preload script and the page: plain data is copied, functions are
 * wrapped, and errors lose everything but their message.
 */
export function acrossContexts(value: unknown): unknown {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return value;
  if (typeof value === "function") return wrapFunction(value as (...args: unknown[]) => unknown);
  if (value instanceof Promise) return value.then(acrossContexts, (error) => Promise.reject(acrossContexts(error)));
  if (value instanceof Error) return new Error(value.message);
  if (Array.isArray(value)) return value.map(acrossContexts);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    throw new Error(`fake contextBridge: a ${value.constructor.name} cannot be carried over`);
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, acrossContexts(entry)]));
}

function wrapFunction(original: (...args: unknown[]) => unknown): (...args: unknown[]) => unknown {
  return (...args) => {
    try {
      return acrossContexts(original(...args.map(acrossContexts)));
    } catch (error) {
      throw acrossContexts(error);
    }
  };
}
