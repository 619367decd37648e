import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requestBytes } from './connection.js';

/** One thing that a client does. */
export interface Deed {
  readonly kind: string;
  readonly bytes: Buffer;
  /** It leaves: behind half of the request, or behind all of it without waiting for the answer. */
  readonly leaves?: true;
}

/** Of a hundred. */
const shares = { sample: 62, fixture: 16, multipart: 8, json: 6, refused: 4, leaves: 4 } as const;

/**
 * A thousand deeds in a fixed order: sample pictures of the embedded model by themselves, several in multipart, in JSON;
 * every picture of test/fixtures/images; what is refused; clients that leave.
 */
export async function soakDeeds(url: URL, root: string): Promise<Deed[]> {
  const samples = await filesIn(join(root, 'models/fashion-vgg/samples'));
  const fixtures = await filesIn(join(root, 'test/fixtures/images'));
  const photo = fixtures.find(({ name }) => name === 'rocket.jpg') as File;
  const one = (list: readonly File[], at: number) => list[at % list.length] as File;
  const raw = (type: string, body: Buffer) => requestBytes(url, type, body);
  const refused = [
    raw('image/png', Buffer.from('this is no picture')),
    raw('image/jpeg', photo.bytes.subarray(0, photo.bytes.length >> 1)),
    raw('image/jpeg', Buffer.alloc(0)),
    raw('text/plain', Buffer.from('neither is this')),
    raw('application/json', Buffer.from('{"images": [{"data": "!"}]}')),
    raw('multipart/form-data; boundary=b', Buffer.from('--b\r\nno part')),
  ];
  const make: Record<keyof typeof shares, (at: number) => Omit<Deed, 'kind'>> = {
    sample: (at) => ({ bytes: raw('image/png', one(samples, at).bytes) }),
    fixture: (at) => ({ bytes: raw('application/octet-stream', one(fixtures, at).bytes) }),
    multipart: (at) => ({
      bytes: multipart(
        url,
        [0, 1, 2, 3].map((more) => one(samples, at + more)),
      ),
    }),
    json: (at) => ({
      bytes: json(
        url,
        [0, 1].map((more) => one(samples, at + more)),
      ),
    }),
    refused: (at) => ({ bytes: refused[at % refused.length] as Buffer }),
    leaves(at) {
      const { bytes } = one([photo, ...samples], at);
      const whole = raw('application/octet-stream', bytes);
      return { bytes: at % 2 === 0 ? whole : whole.subarray(0, whole.length >> 1), leaves: true };
    },
  };
  const kinds = Object.entries(shares).flatMap(([kind, share]) => Array<string>(share).fill(kind));
  const counts = new Map<string, number>();
  return Array.from({ length: 1000 }, (_, at) => {
    // 37 and 100 have no common divisor: the kinds come mixed, each as often as it should.
    const kind = kinds[(at * 37) % 100] as keyof typeof shares;
    const count = counts.get(kind) ?? 0;
    counts.set(kind, count + 1);
    return { kind, ...make[kind](count) };
  });
}

interface File {
  readonly name: string;
  readonly bytes: Buffer;
}

async function filesIn(folder: string): Promise<File[]> {
  const names = (await readdir(folder)).filter((name) => /\.(jpe?g|png|webp)$/.test(name)).sort();
  return await Promise.all(names.map(async (name) => ({ name, bytes: await readFile(join(folder, name)) })));
}

function multipart(url: URL, files: readonly File[]): Buffer {
  const parts = files.flatMap(({ name, bytes }) => [
    Buffer.from(
      `--b\r\nContent-Disposition: form-data; name="image"; filename="${name}"\r\nContent-Type: image/png\r\n\r\n`,
    ),
    bytes,
    Buffer.from('\r\n'),
  ]);
  return requestBytes(url, 'multipart/form-data; boundary=b', Buffer.concat([...parts, Buffer.from('--b--\r\n')]));
}

function json(url: URL, files: readonly File[]): Buffer {
  const images = files.map(({ name, bytes }) => ({ file: name, data: bytes.toString('base64') }));
  return requestBytes(url, 'application/json', Buffer.from(JSON.stringify({ images })));
}
