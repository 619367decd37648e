import type { Layered } from '../network/layer.js';
import { type ResNetName, resnets } from '../resnet/configs.js';
import { printResNet } from '../resnet/describe.js';
import { buildResNet } from '../resnet/network.js';
import { type BuilderName as VggName, builders as vggs } from '../vgg/configs.js';
import { printNetwork } from '../vgg/describe.js';
import { builderOptions, buildNetwork, type NetworkOptions as VggOptions } from '../vgg/network.js';

/** A function of torchvision.models that builds a network which can be served. */
export type BuilderName = VggName | ResNetName;

export const builderNames = [...Object.keys(vggs), ...Object.keys(resnets)] as readonly BuilderName[];

/** What a network is made from: any VGG by its parts, a ResNet by its name. */
export type Architecture = VggOptions | { readonly builder: ResNetName; readonly classes: number };

/** A network that puts out one logit for each class. */
export interface Network extends Layered {
  readonly classes: number;
}

/** torchvision's network of that name, with a head for so many classes. */
export function builderArchitecture(builder: BuilderName, classes: number): Architecture {
  return isResNet(builder) ? { builder, classes } : { ...builderOptions(builder), classes };
}

/** @throws TypeError | RangeError that says which option is bad, what was seen and what is allowed */
export function buildArchitecture(architecture: Architecture): Network {
  if (!('builder' in architecture)) return buildNetwork(architecture);
  const { builder, classes } = architecture;
  return buildResNet({ ...resnets[builder], classes });
}

/** What Python shows for `print(model)`. */
export function printArchitecture(architecture: Architecture): string {
  const print = 'builder' in architecture ? printResNet : printNetwork;
  return print(buildArchitecture(architecture));
}

function isResNet(builder: BuilderName): builder is ResNetName {
  return Object.hasOwn(resnets, builder);
}
