import { type NamedOption, optionsOf } from '../config.js';
import { type Verb, verbs } from '../options.js';

const columns = 96;
/** Where the meanings begin: right of the longest flag. */
const indent = 28;

/** What `vgg-serve --help` prints. */
export function commandHelp(): string {
  const rows = Object.entries(verbs).map(([verb, { summary }]) => entry(verb, summary));
  return [
    'Usage: vgg-serve [VERB] [OPTION...]',
    'Says what is in a picture, with networks of the VGG family.',
    rows.join('\n'),
    [entry('VERB --help', 'The options of a verb.'), entry('--version', 'The version of vgg-serve.')].join('\n'),
  ]
    .join('\n\n')
    .concat('\n');
}

/** What `vgg-serve <verb> --help` prints: every option that the verb accepts, with its variable and its default. */
export function verbHelp(verb: Verb): string {
  const { summary, notes, operands } = verbs[verb];
  return [
    `Usage: vgg-serve ${[verb, '[OPTION...]', operands.name].filter(Boolean).join(' ')}`,
    wrap(summary, columns).join('\n'),
    optionsOf(verb)
      .map((row) => optionHelp(row, verb))
      .join('\n'),
    wrap(notes, columns).join('\n'),
    'Exit code: 0 all went well, 1 something failed or was refused, 2 wrong use.',
  ]
    .join('\n\n')
    .concat('\n');
}

function optionHelp(row: NamedOption, verb: Verb): string {
  const flag = row.negation === undefined ? row.flag : row.flag.replace('--', '--[no-]');
  const sentences = [row.help];
  if (row.kind.choices !== undefined) sentences.push(`One of ${row.kind.choices.join(', ')}.`);
  if (row.repeatable?.includes(verb))
    sentences.push('May be given several times, or in the variable with commas between.');
  const facts = row.required ? ['required'] : [`default: ${defaultText(row)}`];
  if (flag === '') return entry(`${row.envName}`, sentences.join(' '), `[${facts.join('; ')}]`);
  if (row.envName !== undefined) facts.push(`env: ${row.envName}`);
  return entry(`${flag} ${row.kind.placeholder}`.trimEnd(), sentences.join(' '), `[${facts.join('; ')}]`);
}

function defaultText({ default: value, defaultText, kind }: NamedOption): string {
  if (defaultText !== undefined) return defaultText;
  return Array.isArray(value) ? value.map((one) => kind.show(one)).join(',') : kind.show(value);
}

/** A term and, beside it, what it means, paragraph by paragraph. */
function entry(term: string, ...meaning: string[]): string {
  const lines = meaning.flatMap((paragraph) => wrap(paragraph, columns - indent));
  return lines.map((line, at) => (at === 0 ? `  ${term}` : '').padEnd(indent) + line).join('\n');
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) as string;
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
