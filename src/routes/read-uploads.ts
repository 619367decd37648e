import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import type { RequestSignal } from './abort.js';
import { emptyBody, readBody, requestTooLarge, tooManyBytes, type Upload, type UploadLimits } from './upload.js';
import type { Hold } from './upload-bytes.js';
import { readJson } from './upload-json.js';
import { readMultipart } from './upload-multipart.js';

/** By media type, in lower case and without parameters. */
const bodyKinds = [
  { type: /^multipart\/form-data$/, read: readMultipart },
  { type: /^application\/json$/, read: readJson },
  { type: /^(image\/.+|application\/octet-stream)$/, read: readRaw },
];

/**
 * The pictures of a request, whatever the kind of its body: at least 1 and at most `maxPictures`.
 * @param signal once it is aborted, nothing of the body is kept; it is aborted when the body grows beyond what `hold` allows
 * @throws ServiceError `overloaded`, `empty_body`, `unsupported_media_type`, `request_too_large`, `no_image`, `too_many_images`,
 *   `image_too_many_bytes`, `bad_json`, `bad_multipart`; `bad_request` or `request_timeout` for what Node refuses of a body
 */
export async function readUploads(
  request: FastifyRequest,
  limits: UploadLimits,
  hold: Hold,
  signal: RequestSignal,
): Promise<Upload[]> {
  const length = request.headers['content-length'];
  if (length === '0' || (length === undefined && request.headers['transfer-encoding'] === undefined)) throw emptyBody();
  if (Number(length) > limits.maxRequestBytes) throw requestTooLarge(limits);

  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    throw new ServiceError('unsupported_media_type', 'The body is compressed (Content-Encoding). Send it as it is.');
  }
  const contentType = request.headers['content-type'] ?? '';
  const mediaType = (contentType.split(';')[0] as string).trim().toLowerCase();
  const kind = bodyKinds.find(({ type }) => type.test(mediaType));
  if (kind === undefined) throw unsupportedMediaType(mediaType);
  const { record, raw } = request;
  if (length === undefined) watchWhatComes(raw, hold, signal);
  else hold.grow(Number(length));
  record.onBodyFault = (error) => signal.abort(error);
  try {
    return await kind.read(request, limits, signal);
  } finally {
    record.onBodyFault = undefined;
  }
}

/** A million chunks of a byte keep this program busy for seconds, and hold much memory besides the megabyte that they are. */
const chunksOfAnySize = 10_000;
const leastMeanChunkBytes = 16;

/** Of a body whose length is not known beforehand. Aborts where it takes too much room, or its chunks are too many for what they hold. */
function watchWhatComes(raw: IncomingMessage, hold: Hold, signal: RequestSignal): void {
  let chunks = 0;
  let bytes = 0;
  const onData = (chunk: Buffer) => {
    chunks++;
    bytes += chunk.length;
    try {
      hold.grow(chunk.length);
      if (chunks > chunksOfAnySize && bytes < chunks * leastMeanChunkBytes) throw tinyChunks(chunks, bytes);
    } catch (error) {
      signal.abort(error as ServiceError);
    }
  };
  raw.on('data', onData);
  signal.addEventListener('abort', () => raw.off('data', onData));
}

function tinyChunks(chunks: number, bytes: number): ServiceError {
  const detail = `${chunks} chunks of the body hold ${bytes} bytes. Send larger chunks, or Content-Length.`;
  return new ServiceError('bad_request', detail, { endsConnection: true });
}

/** The body as it is: one picture, whose name is not known. */
async function readRaw(request: FastifyRequest, limits: UploadLimits, signal: AbortSignal): Promise<Upload[]> {
  const tooLarge = () =>
    limits.maxPictureBytes < limits.maxRequestBytes ? tooManyBytes(limits.maxPictureBytes) : requestTooLarge(limits);
  const bytes = await readBody(request, Math.min(limits.maxPictureBytes, limits.maxRequestBytes), tooLarge, signal);
  return [{ file: null, bytes }];
}

function unsupportedMediaType(seen: string): ServiceError {
  const what = seen === '' ? 'The request has no Content-Type.' : `The Content-Type is ${seen.slice(0, 100)}.`;
  return new ServiceError(
    'unsupported_media_type',
    `${what} Send multipart/form-data (curl -F image=@FILE), a picture as it is with image/* or ` +
      'application/octet-stream (curl --data-binary @FILE -H "Content-Type: image/png"), or application/json.',
  );
}
