import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseSpelling,
  spellingsOf,
  splitPrecision,
  UnknownModelError,
  unknownModel,
  unknownPrecision,
} from '../../src/model-registry/spelling.js';
import { catalogueBuilders } from '../../src/weights/catalogue.js';

const pretrained: Readonly<Record<string, string>> = {
  vgg16: 'vgg16 IMAGENET1K_V1',
  'vgg16:DEFAULT': 'vgg16 IMAGENET1K_V1',
  'vgg16:IMAGENET1K_V1': 'vgg16 IMAGENET1K_V1',
  'vgg16:VGG16_Weights.IMAGENET1K_V1': 'vgg16 IMAGENET1K_V1',
  'vgg16:VGG16_Weights.DEFAULT': 'vgg16 IMAGENET1K_V1',
  // verify() takes the enum's name out wherever it stands, however often.
  'vgg16:VGG16_Weights.VGG16_Weights.IMAGENET1K_V1': 'vgg16 IMAGENET1K_V1',
  // get_model_weights() knows a builder in any case.
  VGG16: 'vgg16 IMAGENET1K_V1',
  'Vgg19_BN:DEFAULT': 'vgg19_bn IMAGENET1K_V1',
  'vgg11_bn:VGG11_BN_Weights.IMAGENET1K_V1': 'vgg11_bn IMAGENET1K_V1',
  resnet50: 'resnet50 IMAGENET1K_V2',
  'ResNet50:DEFAULT': 'resnet50 IMAGENET1K_V2',
  'resnet50:IMAGENET1K_V1': 'resnet50 IMAGENET1K_V1',
  'resnet50:ResNet50_Weights.IMAGENET1K_V2': 'resnet50 IMAGENET1K_V2',
};

for (const [value, expected] of Object.entries(pretrained)) {
  test(`${value} is ${expected}`, () => {
    const spelling = parseSpelling(value);
    assert.equal(spelling?.kind, 'pretrained');
    assert.equal(`${spelling.builder} ${spelling.entry.entry}`, expected);
    assert.equal(spelling.entry.builder, spelling.builder);
  });
}

test('none asks for no pretrained weights', () => {
  assert.deepEqual(parseSpelling('vgg16:none'), { kind: 'untrained', builder: 'vgg16' });
  assert.deepEqual(parseSpelling('RESNET50:none'), { kind: 'untrained', builder: 'resnet50' });
});

test('after = comes a path, whatever is in it', () => {
  for (const path of ['/a/own.pth', 'own.pth', 'a=b:c.pth', 'IMAGENET1K_V1', 'with\nnewline']) {
    assert.deepEqual(parseSpelling(`vgg16=${path}`), { kind: 'own', builder: 'vgg16', path });
  }
});

test('what does not begin with a builder is no spelling', () => {
  for (const value of [
    '',
    'vgg12',
    'vgg12:DEFAULT',
    'vgg_16',
    'vgg16_',
    ' vgg16',
    'vgg16 ',
    './vgg16',
    'vgg16/manifest.json',
    'vgg16.json',
    'VGG16_Weights.IMAGENET1K_V1',
    ':DEFAULT',
    '=own.pth',
    'constructor',
    'C:\\models\\own.json',
  ]) {
    assert.equal(parseSpelling(value), undefined, value);
  }
});

const allowed =
  'give vgg16, vgg16:DEFAULT, vgg16:IMAGENET1K_V1, vgg16:VGG16_Weights.IMAGENET1K_V1, vgg16:none or vgg16=FILE';

const refused: Readonly<Record<string, string>> = {
  'vgg16:VGG19_Weights.IMAGENET1K_V1':
    'vgg16 has no weights "VGG19_Weights.IMAGENET1K_V1" (did you mean vgg16:VGG16_Weights.IMAGENET1K_V1?)',
  'vgg16:IMAGENET1K_V2': 'vgg16 has no weights "IMAGENET1K_V2" (did you mean vgg16:IMAGENET1K_V1?)',
  'vgg16:imagenet1k_v1': 'vgg16 has no weights "imagenet1k_v1" (did you mean vgg16:IMAGENET1K_V1?)',
  'vgg16:default': 'vgg16 has no weights "default" (did you mean vgg16:DEFAULT?)',
  'vgg16:None': 'vgg16 has no weights "None" (did you mean vgg16:none?)',
  'vgg16:VGG16_WEIGHTS.IMAGENET1K_V1':
    'vgg16 has no weights "VGG16_WEIGHTS.IMAGENET1K_V1" (did you mean vgg16:VGG16_Weights.IMAGENET1K_V1?)',
  'vgg16:VGG16_Weights.none': 'vgg16 has no weights "VGG16_Weights.none"',
  'vgg16:': 'vgg16 has no weights "" (did you mean vgg16?)',
  'vgg16:VGG16_Weights': 'vgg16 has no weights "VGG16_Weights"',
  'vgg16:.IMAGENET1K_V1': 'vgg16 has no weights ".IMAGENET1K_V1" (did you mean vgg16:IMAGENET1K_V1?)',
  'vgg16: DEFAULT': 'vgg16 has no weights " DEFAULT" (did you mean vgg16:DEFAULT?)',
  'vgg16:__class__': 'vgg16 has no weights "__class__"',
  'vgg16:constructor': 'vgg16 has no weights "constructor"',
  'vgg16=': '"vgg16=" names no file',
  'vgg16:IMAGENET1K_FEATURES':
    'vgg16:IMAGENET1K_FEATURES cannot classify (its classifier is NaN, only its features have values)',
  'VGG16:VGG16_Weights.IMAGENET1K_FEATURES':
    'vgg16:IMAGENET1K_FEATURES cannot classify (its classifier is NaN, only its features have values)',
};

for (const [value, beginning] of Object.entries(refused)) {
  test(`${value} is refused, and the right ones are listed`, () => {
    assert.throws(() => parseSpelling(value), new UnknownModelError(`${beginning}: ${allowed}`));
  });
}

test("another builder's weights are refused with that builder's list", () => {
  assert.throws(() => parseSpelling('resnet50:IMAGENET1K_V3'), {
    name: 'UnknownModelError',
    message:
      'resnet50 has no weights "IMAGENET1K_V3" (did you mean resnet50:IMAGENET1K_V1?): give resnet50, ' +
      'resnet50:DEFAULT, resnet50:IMAGENET1K_V1, resnet50:ResNet50_Weights.IMAGENET1K_V1, resnet50:IMAGENET1K_V2, ' +
      'resnet50:ResNet50_Weights.IMAGENET1K_V2, resnet50:none or resnet50=FILE',
  });
  assert.throws(() => parseSpelling('vgg19:IMAGENET1K_FEATURES'), /^UnknownModelError: vgg19 has no weights/);
});

test('every text that a list names is accepted', () => {
  for (const builder of catalogueBuilders) {
    for (const value of spellingsOf(builder)) assert.equal(parseSpelling(value)?.builder, builder, value);
  }
});

test('unknownModel suggests the nearest of all, and lists the kinds', () => {
  const suggestions = {
    vgg12: 'vgg11',
    'vgg-16': 'vgg16',
    'vgg16-bn': 'vgg16_bn',
    'VGG-19': 'vgg19',
    resnet: 'resnet50',
    'VGG16_Weights.IMAGENET1K_V1': 'vgg16:VGG16_Weights.IMAGENET1K_V1',
    'fashion-vg': 'fashion-vgg',
  };
  for (const [value, near] of Object.entries(suggestions)) {
    const { message } = unknownModel(value, ['fashion-vgg']);
    assert.ok(message.startsWith(`there is no model "${value}" (did you mean ${near}?): give an embedded`), message);
  }
  assert.equal(
    unknownModel('elephant', ['fashion-vgg']).message,
    'there is no model "elephant": give an embedded model (fashion-vgg), one of torchvision\'s (vgg11, vgg11_bn, vgg13, ' +
      'vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn, resnet50; which weights may follow, as in vgg16:IMAGENET1K_V1, ' +
      'vgg16:none or vgg16=FILE), or the path of a manifest or of a folder that holds a manifest.json; @ and a precision ' +
      '(fp32, bf16, bf16-classifier) may stand behind each',
  );
});

test('splitPrecision takes off the last @ and what is behind it, if that is a precision', () => {
  const expected: Readonly<Record<string, readonly [string, string | undefined]>> = {
    vgg16: ['vgg16', undefined],
    'vgg16@bf16': ['vgg16', 'bf16'],
    'vgg16@fp32': ['vgg16', 'fp32'],
    'vgg16:IMAGENET1K_V1@bf16-classifier': ['vgg16:IMAGENET1K_V1', 'bf16-classifier'],
    'vgg16=/a/own.pth@bf16': ['vgg16=/a/own.pth', 'bf16'],
    'vgg16=/a@b/own.pth': ['vgg16=/a@b/own.pth', undefined],
    'vgg16=/a@bf16/own.pth': ['vgg16=/a@bf16/own.pth', undefined],
    'vgg16=/a@b/own.pth@bf16': ['vgg16=/a@b/own.pth', 'bf16'],
    'own@bf16@fp32': ['own@bf16', 'fp32'],
    'vgg16@BF16': ['vgg16@BF16', undefined],
    'vgg16@': ['vgg16@', undefined],
    'vgg16@constructor': ['vgg16@constructor', undefined],
    '@bf16': ['', 'bf16'],
    '': ['', undefined],
  };
  for (const [value, [model, precision]] of Object.entries(expected)) {
    assert.deepEqual(splitPrecision(value), { model, precision }, value);
  }
});

test('unknownPrecision says what was probably meant, and lists the right ones', () => {
  assert.equal(
    unknownPrecision('vgg16@BF61').message,
    'there is no precision "BF61": give vgg16@fp32, vgg16@bf16, vgg16@bf16-classifier, or vgg16 alone',
  );
  assert.match(
    unknownPrecision('vgg16@bf-16').message,
    /^there is no precision "bf-16" \(did you mean vgg16@bf16\?\): /,
  );
  assert.match(
    unknownPrecision('a@b@FP32').message,
    /^there is no precision "FP32" \(did you mean a@b@fp32\?\): give a@b@/,
  );
});
