import { createHash } from 'node:crypto';
import {
  createServer,
  get,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { after } from 'node:test';

/** How a server answers one request. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void;

export interface HubServer {
  /** `http://127.0.0.1:40000` */
  readonly origin: string;
  /** Of the requests so far. */
  readonly requests: { readonly url: string; readonly headers: IncomingHttpHeaders }[];
}

/** Answers the first request as the first behaviour says and so on; the last one is for all further requests. */
export async function startHubServer(...behaviours: readonly Behaviour[]): Promise<HubServer> {
  const requests: HubServer['requests'] = [];
  const server = createServer((request, response) => {
    const behaviour = behaviours[Math.min(requests.length, behaviours.length - 1)];
    requests.push({ url: request.url ?? '', headers: request.headers });
    behaviour?.(request, response);
  });
  return { origin: await listen(server), requests };
}

export interface Proxy {
  readonly origin: string;
  /** `127.0.0.1:40000` of a tunnel, `http://127.0.0.1:40000/...` of a request that is passed on. */
  readonly asked: string[];
}

/** An HTTP proxy that opens tunnels and passes requests on, or answers with a status when it is asked for either. */
export async function startProxy(refusal?: number): Promise<Proxy> {
  const asked: string[] = [];
  const server = createServer(({ url = '', headers }, response) => {
    asked.push(url);
    if (refusal !== undefined) response.writeHead(refusal).end();
    else get(url, { headers }, (answer) => answer.pipe(response.writeHead(answer.statusCode ?? 502, answer.headers)));
  });
  server.on('connect', ({ url = '' }: IncomingMessage, socket) => {
    asked.push(url);
    if (refusal !== undefined) {
      socket.end(`HTTP/1.1 ${refusal} No\r\n\r\n`);
      return;
    }
    const [host = '', port] = url.split(':');
    const upstream = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(upstream).pipe(socket);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  return { origin: await listen(server), asked };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A file for a server to have: bytes that do not repeat, under torch's kind of name. */
export function weightsFile(size: number) {
  const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, at) => (at * 7919) >> 3));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { bytes, sha256, name: `vgg16-${sha256.slice(0, 8)}.pth` };
}

export interface Served {
  readonly bytes: Buffer;
  /** @default '"one"'; null: none */
  readonly etag?: string | null;
  readonly lastModified?: string;
}

/** All of the file, or the part that Range asks for and If-Range allows. */
export function serve(file: Served): Behaviour {
  return (request, response) => {
    const { status, headers, body } = answerFor(request, file);
    response.writeHead(status, headers).end(body);
  };
}

/** Ends the connection after so many bytes of the body. */
export function cutAfter(count: number, file: Served): Behaviour {
  return (request, response) => {
    const { status, headers, body } = answerFor(request, file);
    response.writeHead(status, headers).write(body.subarray(0, count), () => response.destroy());
  };
}

/** Sends no more after so many bytes of the body, but keeps the connection. */
export function stallAfter(count: number, file: Served): Behaviour {
  return (request, response) => {
    const { status, headers, body } = answerFor(request, file);
    response.writeHead(status, headers).write(body.subarray(0, count));
  };
}

/** Sends all bytes whatever part is asked for. */
export function ignoreRange({ bytes }: Served): Behaviour {
  return (_, response) => response.writeHead(200, { etag: '"one"', 'content-length': bytes.length }).end(bytes);
}

/** Announces another length than it sends, and ends the connection. */
export function lieAboutLength(announced: number, { bytes }: Served): Behaviour {
  return (_, response) => {
    response.writeHead(200, { 'content-length': announced }).write(bytes, () => response.destroy());
  };
}

export function status(code: number, headers: Record<string, string> = {}, body = ''): Behaviour {
  return (_, response) => response.writeHead(code, headers).end(body);
}

function answerFor({ headers }: IncomingMessage, { bytes, etag = '"one"', lastModified }: Served) {
  const shared: Record<string, string | number> = {};
  if (etag !== null) shared.etag = etag;
  if (lastModified !== undefined) shared['last-modified'] = lastModified;
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? Number.NaN);
  const condition = headers['if-range'];
  if (Number.isNaN(from) || (condition !== undefined && condition !== etag && condition !== lastModified)) {
    return { status: 200, headers: { ...shared, 'content-length': bytes.length }, body: bytes };
  }
  if (from >= bytes.length) {
    return { status: 416, headers: { 'content-range': `bytes */${bytes.length}` }, body: Buffer.alloc(0) };
  }
  const body = bytes.subarray(from);
  const range = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
  return { status: 206, headers: { ...shared, 'content-range': range, 'content-length': body.length }, body };
}
