import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type BuilderName,
  buildArchitecture,
  builderArchitecture,
  builderNames,
  printArchitecture,
} from '../../src/model-registry/architecture.js';
import { parameterCount } from '../../src/network/state-dict.js';
import { printedBy, resnetRows, vggRows } from '../network/reference.js';

const rows: readonly { builder: BuilderName; meta: { num_params: number } }[] = [...vggRows, ...resnetRows];

test('builderNames are the builders of both families that torchvision has weights for', () => {
  assert.deepEqual([...builderNames].sort(), [...new Set(rows.map(({ builder }) => builder))].sort());
});

for (const builder of builderNames) {
  test(`builderArchitecture(${builder}, 1000) is built and printed as torchvision's`, () => {
    const architecture = builderArchitecture(builder, 1000);
    const network = buildArchitecture(architecture);
    assert.equal(network.classes, 1000);
    assert.equal(parameterCount(network), rows.find((row) => row.builder === builder)?.meta.num_params);
    assert.equal(printArchitecture(architecture), printedBy(builder));
  });

  test(`builderArchitecture(${builder}, 37) differs in the head alone`, () => {
    const { layers } = buildArchitecture(builderArchitecture(builder, 1000));
    const network = buildArchitecture(builderArchitecture(builder, 37));
    assert.equal(network.classes, 37);
    assert.deepEqual(network.layers, [...layers.slice(0, -1), { ...layers.at(-1), outFeatures: 37 }]);
  });
}

test('buildArchitecture refuses zero classes of either family', () => {
  for (const builder of ['vgg11', 'resnet50'] as const) {
    assert.throws(() => buildArchitecture(builderArchitecture(builder, 0)), {
      name: 'RangeError',
      message: 'classes is 0; allowed is a whole number from 1 to 65536.',
    });
  }
});
