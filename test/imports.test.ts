import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import test from 'node:test';

/**
 * What each part of src/ may import besides itself. A part is a folder or a file that lies in src/ itself. A part stands
 * below those that import it, so there is no way round in a circle.
 */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  // Level 0: nothing.
  errors: [],
  metrics: [],
  tensor: [],
  cpus: [],
  nearest: [],
  descriptors: [],
  logging: [],
  lifecycle: [],
  'option-kinds': [],
  'addon-file': [],
  // What the networks of every family are made of.
  network: ['tensor'],
  // Level 1: what is below, never each other.
  vgg: ['network'],
  resnet: ['network'],
  weights: ['errors', 'tensor'],
  preprocessing: ['errors', 'addon-file'],
  batching: ['errors'],
  access: ['errors'],
  options: ['cpus', 'option-kinds'],
  config: ['nearest', 'option-kinds', 'options'],
  // Level 2.
  engines: ['errors', 'tensor', 'network', 'addon-file'],
  // Level 3.
  'model-registry': ['errors', 'tensor', 'nearest', 'network', 'vgg', 'resnet', 'weights', 'batching', 'engines'],
  'registry-metrics': ['metrics', 'engines', 'model-registry'],
  'registry-log': ['weights', 'model-registry'],
  comparison: ['config', 'preprocessing', 'engines', 'model-registry'],
  // Level 4 and up.
  routes: ['errors', 'metrics', 'option-kinds', 'access', 'config', 'preprocessing', 'model-registry'],
  app: ['errors', 'metrics', 'access', 'config', 'routes'],
  reload: ['access'],
  server: [
    'errors',
    'metrics',
    'logging',
    'lifecycle',
    'config',
    'preprocessing',
    'engines',
    'model-registry',
    'registry-metrics',
    'registry-log',
    'access',
    'comparison',
    'routes',
    'descriptors',
    'app',
    'reload',
  ],
  // The verb `serve` is the server.
  cli: [
    'errors',
    'tensor',
    'cpus',
    'option-kinds',
    'options',
    'network',
    'vgg',
    'weights',
    'config',
    'preprocessing',
    'engines',
    'addon-file',
    'access',
    'model-registry',
    'server',
  ],
  'cli.ts': ['nearest', 'options', 'config', 'cli'],
};

const src = new URL('../../src/', import.meta.url);

/** Every file with the files of src/ that it imports, types and dynamic imports too; paths from src/. */
const imports = new Map(
  readdirSync(src, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path, importsOf(path)] as const),
);

function importsOf(path: string): string[] {
  const text = readFileSync(new URL(path, src), 'utf8');
  const specifiers = text.matchAll(/^(?:import|export|\} from)\b[^'"\n]*'(\.[^']*)'|\bimport\(\s*'(\.[^']*)'/gm);
  return [...specifiers].map(([, fixed, dynamic]) =>
    posix.join(posix.dirname(path), (fixed ?? dynamic ?? '').replace(/\.js$/, '.ts')),
  );
}

function partOf(path: string): string {
  if (path === 'cli.ts') return path;
  return (path.split('/')[0] as string).replace(/\.ts$/, '');
}

test('the scan sees the imports of the sources', () => {
  assert.ok(imports.size > 50);
  assert.deepEqual(imports.get('registry-metrics.ts')?.sort(), [
    'engines/child-handle.ts',
    'metrics.ts',
    'model-registry/observer.ts',
  ]);
  assert.ok(imports.get('cli.ts')?.includes('cli/classify.ts'), 'dynamic imports');
  for (const targets of imports.values()) for (const target of targets) assert.ok(imports.has(target), target);
});

test('every part is in the table, and every row of the table stands above those that it may import', () => {
  const parts = new Set([...imports.keys()].map(partOf));
  const rows = Object.keys(mayImport);
  assert.deepEqual([...parts].sort(), [...rows].sort());
  for (const [row, allowed] of Object.entries(mayImport)) {
    for (const below of allowed) assert.ok(rows.indexOf(below) < rows.indexOf(row), `${row} -> ${below}`);
  }
});

test('imports point one way', () => {
  const wrong = [...imports].flatMap(([path, targets]) =>
    targets
      .filter((target) => partOf(target) !== partOf(path) && !mayImport[partOf(path)]?.includes(partOf(target)))
      .map((target) => `${path} -> ${target}`),
  );
  assert.deepEqual(wrong, []);
});

test('no file imports itself by way of others', () => {
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]) => {
    assert.ok(!way.includes(path), [...way, path].join(' -> '));
    if (done.has(path)) return;
    for (const target of imports.get(path) ?? []) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
});
