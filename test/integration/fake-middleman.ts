/** For tests: somebody on the way between miners and the gateway, who speaks WebSocket to both and passes on what it likes. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";

/** To the gateway, or from it. */
export type Direction = "up" | "down";
/** What is passed on instead of a session's message, `index` counts those of this direction. */
export type Tampering = (direction: Direction, index: number, bytes: Buffer) => readonly Uint8Array[];

export const passOn: Tampering = (_direction, _index, bytes) => [bytes];

export class FakeMiddleman {
  /** Of sessions that begin from now on. */
  tampering: Tampering = passOn;
  readonly #server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  readonly #gatewayUrl: string;

  private constructor(gatewayPort: number) {
    this.#gatewayUrl = `ws://127.0.0.1:${gatewayPort}/session`;
    this.#server.on("connection", (miner) => this.#stepBetween(miner));
  }

  static async listen(gatewayPort: number): Promise<FakeMiddleman> {
    const middleman = new FakeMiddleman(gatewayPort);
    await once(middleman.#server, "listening");
    return middleman;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    for (const client of this.#server.clients) client.terminate();
    this.#server.close();
  }

  #stepBetween(miner: WebSocket): void {
    const gateway = new WebSocket(this.#gatewayUrl, { perMessageDeflate: false });
    const { tampering } = this;
    this.#pass("up", miner, gateway, tampering);
    this.#pass("down", gateway, miner, tampering);
  }

  #pass(direction: Direction, from: WebSocket, to: WebSocket, tampering: Tampering): void {
    let count = 0;
    from.on("message", (bytes: Buffer) => {
      for (const one of tampering(direction, count++, bytes)) if (to.readyState === WebSocket.OPEN) to.send(one);
    });
    from.on("error", () => undefined); // `close` follows
    from.on("close", () => to.close());
  }
}
