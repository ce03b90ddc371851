import { expect, it } from "vitest";
import { AddressLimits, defaultAddressLimits } from "./address-limits.ts";
import { slowReaders } from "./slow-readers.ts";

const addresses = new AddressLimits(defaultAddressLimits, () => 0);
const [here, there] = [addresses.householdAt("10.0.0.1"), addresses.householdAt("10.0.0.2")];
const megabytes = 1 << 20;

it("of an address whose guests leave too much unread, those that leave most have to go, and nobody else's", () => {
  const reader = (unsent: number, { household = here, isGuest = true } = {}) => ({
    household,
    isGuest,
    unsentBytes: unsent * megabytes,
  });
  const [slowest, slow, quick] = [reader(50), reader(30), reader(20)];
  const others = [reader(60, { household: there }), reader(500, { isGuest: false })];
  expect(slowReaders([quick, slow, slowest, ...others])).toEqual([slowest]);
  expect(slowReaders([quick, slow, ...others])).toEqual([]);
});
