/** Whether who is at this address is on the same computer: no link lies between. */
export function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::1$|(::ffff:)?127\.)/.test(address);
}
