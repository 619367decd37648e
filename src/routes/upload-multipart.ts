import multipart, { type FastifyMultipartBaseOptions, type MultipartFile } from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import { asServiceError, frameworkErrors } from './problem.js';
import { requestTooLarge, tooManyBytes, tooManyImages, type Upload, type UploadLimits } from './upload.js';

/**
 * Adds the plugin without its hooks. They delete files that it has saved, which it never does here, and are promises: with
 * them no request would reach its route before the first piece of its body is here and copied, a refused one neither.
 */
export function addMultipart(app: FastifyInstance, limits: UploadLimits): void {
  const plugin = (instance: FastifyInstance, options: FastifyMultipartBaseOptions, done: () => void) => {
    const hookless: FastifyInstance = Object.create(instance, { addHook: { value: () => hookless } });
    multipart(hookless, options, done);
  };
  // As its own plugin has it: what it adds is for all routes.
  app.register(Object.assign(plugin, { [Symbol.for('skip-override')]: true }), multipartOptions(limits));
}

/** The plugin's options. Each limit lets one more through than is allowed, so that the error is ours and gives the number. */
function multipartOptions({ maxPictures, maxPictureBytes }: UploadLimits): FastifyMultipartBaseOptions {
  return {
    // A picture that is too large is an error of that picture alone.
    throwFileSizeLimit: false,
    // A picture without a file name is still a picture.
    isPartAFile: (_field, type, file) =>
      file !== undefined || type === 'application/octet-stream' || type?.startsWith('image/') === true,
    limits: {
      files: maxPictures + 1,
      fileSize: maxPictureBytes,
      fields: 1,
      fieldSize: 1000,
      parts: maxPictures + 2,
      headerPairs: 20,
    },
  };
}

/** Every file part, whatever the name of its field. */
export async function readMultipart(
  request: FastifyRequest,
  limits: UploadLimits,
  signal: AbortSignal,
): Promise<Upload[]> {
  request.record.askForBody?.();
  const uploads: Upload[] = [];
  let byteLength = 0;
  let current: MultipartFile['file'] | undefined;
  signal.addEventListener('abort', () => {
    current?.destroy(signal.reason); // with what has come of it
    // The parser would wait for a reader of that part. What still comes goes nowhere.
    request.raw.unpipe();
    request.raw.resume();
  });
  try {
    for await (const part of request.parts()) {
      if (part.type === 'field') throw plainField(part.fieldname);
      if (uploads.length === limits.maxPictures) throw tooManyImages(limits);
      const file = part.filename ?? null;
      signal.throwIfAborted();
      current = part.file;
      const bytes = Buffer.concat(await part.file.toArray()); // Its own toBuffer() keeps the bytes until the answer is sent.
      byteLength += bytes.length;
      if (byteLength > limits.maxRequestBytes) throw requestTooLarge(limits);
      uploads.push(part.file.truncated ? { file, error: tooManyBytes(limits.maxPictureBytes) } : { file, bytes });
    }
  } catch (error) {
    throw asMultipartError(error);
  }
  if (uploads.length === 0) {
    throw new ServiceError('no_image', 'The multipart body has no file part. Send a picture: curl -F image=@FILE');
  }
  return uploads;
}

/** The parser's own errors have no code. */
function asMultipartError(error: unknown): ServiceError {
  const { code = '', message } = error as { code?: string; message: string };
  if (error instanceof ServiceError || code in frameworkErrors) return asServiceError(error);
  return new ServiceError('bad_multipart', `The multipart body cannot be read: ${message}.`, { cause: error });
}

function plainField(name: string | undefined): ServiceError {
  const seen = name === undefined ? 'without a name' : `"${name.slice(0, 100)}"`;
  const advice =
    name === 'model' || name === 'top_k'
      ? `Give ${name} in the query: /classify?${name}=...`
      : 'Send a picture as a file (curl -F image=@FILE, with the @); model and top_k go into the query.';
  return new ServiceError('bad_multipart', `The part ${seen} is a plain field, and only files are read. ${advice}`);
}
