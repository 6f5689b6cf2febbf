/** The services of the sample shop and the resource each of them is. */
import type { Attributes } from './send-otlp.ts';
import type { Random } from './send-shop-random.ts';

export const SERVICE_NAMES = ['frontend', 'cart', 'checkout', 'payment', 'shipping'] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

export interface Service {
  readonly attributes: Attributes;
}
export type Services = Readonly<Record<ServiceName, Service>>;

/** Of the instrumentation. */
export const SCOPE_VERSION = '0.3.1';

const LANGUAGES: Readonly<Record<ServiceName, string>> = {
  frontend: 'nodejs',
  cart: 'dotnet',
  checkout: 'go',
  payment: 'java',
  shipping: 'rust',
};
const VERSIONS: Readonly<Record<ServiceName, string>> = {
  frontend: '2.11.0',
  cart: '1.4.2',
  checkout: '3.0.0',
  payment: '1.19.7',
  shipping: '0.8.0',
};

/** One instance of each service, on three nodes. */
export function makeServices(random: Random): Services {
  const make = (name: ServiceName): Service => ({ attributes: resourceAttributes(name, random) });
  return {
    frontend: make('frontend'),
    cart: make('cart'),
    checkout: make('checkout'),
    payment: make('payment'),
    shipping: make('shipping'),
  };
}

function resourceAttributes(name: ServiceName, random: Random): Attributes {
  const pod = `${name}-${random.hex(5)}-${random.hex(3).slice(0, 5)}`;
  const node = `node-${1 + (SERVICE_NAMES.indexOf(name) % 3)}`;
  return {
    'service.name': name,
    'service.namespace': 'shop',
    'service.version': VERSIONS[name],
    'service.instance.id': uuid(random),
    'deployment.environment.name': 'sample',
    'host.name': node,
    'k8s.cluster.name': 'shop-1',
    'k8s.namespace.name': 'shop',
    'k8s.node.name': node,
    'k8s.deployment.name': name,
    'k8s.pod.name': pod,
    'k8s.pod.uid': uuid(random),
    'k8s.container.name': name,
    'process.pid': random.int(1, 400),
    'process.command_args': [`/app/${name}`, '--port', '8080'],
    'telemetry.sdk.name': 'opentelemetry',
    'telemetry.sdk.language': LANGUAGES[name],
  };
}

function uuid(random: Random): string {
  const hex = random.hex(16);
  const variant = '89ab'[random.int(0, 3)];
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20),
  ].join('-');
}
