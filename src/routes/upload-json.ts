import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import { readBody, requestTooLarge, tooManyImages, type Upload, type UploadLimits } from './upload.js';

const form = 'Send {"images": [...]} or {"image": ...}, each a base64 text or {"file": "name", "data": "<base64>"}.';

/** `{"images": [...]}` or `{"image": ...}`: each picture is a base64 text, a data: URI, or such a text with its name. */
export async function readJson(request: FastifyRequest, limits: UploadLimits, signal: AbortSignal): Promise<Upload[]> {
  const body = await readBody(request, limits.maxRequestBytes, () => requestTooLarge(limits), signal);
  const pictures = picturesOf(parse(body.toString()));
  if (pictures.length === 0) throw new ServiceError('no_image', `"images" is empty. ${form}`);
  if (pictures.length > limits.maxPictures) throw tooManyImages(limits);
  return pictures.map(({ file, data }) => {
    try {
      return { file, bytes: decodeBase64(data) };
    } catch (error) {
      return { file, error: error as ServiceError };
    }
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ServiceError('bad_json', `The body is not JSON: ${(error as Error).message}`, { cause: error });
  }
}

function picturesOf(body: unknown): { file: string | null; data: string }[] {
  const fields = fieldsOf(body, ['images', 'image'], 'The body');
  if ('images' in fields === 'image' in fields) {
    throw new ServiceError(
      'images' in fields ? 'bad_json' : 'no_image',
      `Exactly one of "images" and "image" is allowed. ${form}`,
    );
  }
  if ('image' in fields) return [pictureOf(fields.image, '"image"')];
  if (!Array.isArray(fields.images)) throw new ServiceError('bad_json', `"images" is not a list. ${form}`);
  return fields.images.map((picture, at) => pictureOf(picture, `images[${at}]`));
}

function pictureOf(picture: unknown, place: string): { file: string | null; data: string } {
  if (typeof picture === 'string') return { file: null, data: picture };
  const { file = null, data } = fieldsOf(picture, ['file', 'data'], place);
  if (typeof data !== 'string') throw new ServiceError('bad_json', `"data" of ${place} is not a text. ${form}`);
  if (file !== null && typeof file !== 'string') {
    throw new ServiceError('bad_json', `"file" of ${place} is not a text. ${form}`);
  }
  return { file, data };
}

function fieldsOf<const Name extends string>(
  value: unknown,
  names: readonly Name[],
  place: string,
): { [key in Name]?: unknown } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ServiceError('bad_json', `${place} is not an object. ${form}`);
  }
  const unknown = Object.keys(value).find((name) => !names.some((known) => known === name));
  if (unknown === undefined) return value;
  throw new ServiceError('bad_json', `${place} has a field "${unknown.slice(0, 100)}". ${form}`);
}

/**
 * RFC 4648, section 4: the standard alphabet with padding and nothing else (section 3.3). A `data:` URI's head is cut off.
 * @throws ServiceError `bad_base64`
 */
export function decodeBase64(text: string): Uint8Array {
  let data = text;
  if (text.startsWith('data:')) {
    const head = /^data:[^,]*;base64,/i.exec(text.slice(0, 500))?.[0];
    if (head === undefined)
      throw new ServiceError('bad_base64', 'The data: URI has no ";base64," after its media type.');
    data = text.slice(head.length);
  }
  const digits = data.replace(/={1,2}$/, '');
  const at = digits.search(/[^A-Za-z0-9+/]/);
  if (at >= 0) {
    const seen = JSON.stringify(String.fromCodePoint(digits.codePointAt(at) as number));
    const detail = `The character ${seen} at ${at} is not of base64. Encode without line breaks (base64 -w0), in the standard alphabet.`;
    throw new ServiceError('bad_base64', detail);
  }
  if (data.length % 4 !== 0) {
    throw new ServiceError(
      'bad_base64',
      `${data.length} characters are not a multiple of 4: the text is cut off or lacks its padding.`,
    );
  }
  return Buffer.from(data, 'base64');
}
