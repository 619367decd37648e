import { readFile } from 'node:fs/promises';

/** Names of classes that cannot be used. The message begins with the path. */
export class CategoriesError extends Error {
  override readonly name = 'CategoriesError';
}

/**
 * Reads the names of the classes in the order of the logits: a text with one name a line, or JSON: a list of names, or
 * ImageFolder's class_to_idx, `{"cat": 0, "dog": 1}`.
 * @throws CategoriesError that says what is wrong; both numbers where there are more or fewer names than classes
 */
export async function readCategories(path: string, classes: number): Promise<string[]> {
  const fail = (problem: string) => new CategoriesError(`${path}: ${problem}`);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw fail(error.code === 'ENOENT' ? 'there is no such file.' : error.message);
  });
  const names = /^\s*[{[]/.test(text) ? namesInJson(text, fail) : namesInLines(text, fail);
  if (names.length === classes) return names;
  throw fail(`it has ${names.length} names, but the network has ${classes} classes.`);
}

type Fail = (problem: string) => CategoriesError;

function namesInLines(text: string, fail: Fail): string[] {
  const lines = text
    .replace(/^\uFEFF/, '')
    .replace(/(\r?\n)+$/, '')
    .split(/\r?\n/);
  const empty = lines.findIndex((line) => line.trim() === '');
  if (empty >= 0) throw fail(`line ${empty + 1} is empty.`);
  return lines;
}

function namesInJson(text: string, fail: Fail): string[] {
  const value = parseJson(text, fail);
  if (!Array.isArray(value)) return namesByIndex(Object.entries(value as object), fail);
  const wrong = value.findIndex((name) => typeof name !== 'string' || name.trim() === '');
  if (wrong < 0) return value as string[];
  throw fail(`item ${wrong} of the list is ${JSON.stringify(value[wrong])}; allowed is a name.`);
}

function parseJson(text: string, fail: Fail): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw fail(`it begins as JSON, but is none: ${(error as Error).message}`);
  }
}

/** Each index from 0 on must be there once. */
function namesByIndex(entries: readonly (readonly [string, unknown])[], fail: Fail): string[] {
  const names: string[] = [];
  for (const [name, index] of entries) {
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= entries.length) {
      throw fail(
        `"${name}" is ${JSON.stringify(index)}; allowed in a class_to_idx of ${entries.length} classes is ` +
          `a whole number from 0 to ${entries.length - 1}.`,
      );
    }
    const other = names[index];
    if (other !== undefined) throw fail(`"${other}" and "${name}" are both ${index}; each index stands for one class.`);
    names[index] = name;
  }
  return names;
}
