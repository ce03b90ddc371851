/**
 * A bad network between one miner and the gateway. It passes HTTP and single WebSocket messages on, and mishandles frames
 * among the latter as the weather says; the same seed mishandles the same ones. Without weather it changes nothing.
 */
import {
  createServer,
  type IncomingMessage,
  request as requestHttp,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer } from "ws";
import { streamKey } from "../../../src/compute/random.ts";
import { Lane } from "./lane.ts";
import { fairWeather, type Weather } from "./weather.ts";

export interface ChaosProxyOptions {
  /** ws:// address of the gateway. */
  readonly target: URL;
  readonly seed: number;
  /** Draws lots of its own under the seed. */
  readonly name: string;
  /** Sees every WebSocket message that the miner sends, whatever becomes of it. */
  readonly onSent?: (bytes: Uint8Array) => void;
}

export class ChaosProxy {
  weather: Weather = fairWeather;
  readonly #options: ChaosProxyOptions;
  readonly #server: Server;
  readonly #webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, autoPong: false });
  readonly #lanes = new Map<WebSocket, readonly Lane[]>();
  readonly #exchanges = new Set<ServerResponse>();
  /** Connections that were tried while the network was partitioned: nobody answers them. */
  readonly #unanswered = new Set<Duplex>();
  #connections = 0;
  #partitioned = false;

  private constructor(options: ChaosProxyOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => this.#passHttp(request, response));
    this.#server.on("upgrade", (request, socket, head) => this.#passWebSocket(request, socket, head));
  }

  static async listen(options: ChaosProxyOptions): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(options);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): URL {
    return new URL(`ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  /** While it is on, nothing passes and nobody is told: as when a cable is pulled behind a router. */
  partition(on: boolean): void {
    this.#partitioned = on;
    for (const lane of [...this.#lanes.values()].flat()) lane.partition(on);
    // Of HTTP nothing is kept: a transfer that broke is the client's to repeat.
    for (const broken of on ? this.#exchanges : this.#unanswered) broken.destroy();
    if (!on) this.#unanswered.clear();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const client of this.#lanes.keys()) client.terminate();
    for (const socket of this.#unanswered) socket.destroy();
    this.#server.closeAllConnections();
    await closed;
  }

  #passWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    if (this.#partitioned) {
      this.#unanswered.add(socket);
      return;
    }
    const options = { perMessageDeflate: false, autoPong: false, maxPayload: 0 };
    const gateway = new WebSocket(new URL(request.url ?? "", this.#options.target), options);
    gateway.once("error", () => socket.destroy());
    gateway.once("open", () =>
      this.#webSockets.handleUpgrade(request, socket, head, (miner) => this.#join(miner, gateway)),
    );
  }

  #join(miner: WebSocket, gateway: WebSocket): void {
    const connection = ++this.#connections;
    const lane = (direction: "up" | "down") => {
      const [from, to] = direction === "up" ? [miner, gateway] : [gateway, miner];
      const { seed, name, onSent } = this.#options;
      return new Lane({
        from,
        to,
        key: streamKey(seed, `${name}, connection ${connection}, ${direction}`),
        weather: () => this.weather,
        onSent: direction === "up" ? onSent : undefined,
      });
    };
    const lanes = [lane("up"), lane("down")];
    for (const one of lanes) one.partition(this.#partitioned);
    this.#lanes.set(miner, lanes);
    miner.once("close", () => this.#lanes.delete(miner));
  }

  #passHttp(request: IncomingMessage, response: ServerResponse): void {
    if (this.#partitioned) {
      this.#unanswered.add(request.socket);
      return;
    }
    const { hostname, port } = this.#options.target;
    const { method, url: path, headers } = request;
    const upstream = requestHttp({ hostname, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      answer.once("error", () => response.destroy());
    });
    upstream.once("error", () => response.destroy());
    this.#exchanges.add(response);
    response.once("close", () => {
      this.#exchanges.delete(response);
      upstream.destroy();
    });
    request.pipe(upstream);
  }
}
