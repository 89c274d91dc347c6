// Who may import whom, as rules of dependency-cruiser (`npm run floors`, .ci/floors.mjs).
// A file imports only from its own folder or from a strictly lower floor: never sideways, never up. Imports of types count.
// Change a rule and this file in the same commit.

/** The floors from the ground up; each entry is a room: a folder of src/ or a single file. */
const FLOORS = [
  ['base/'],
  ['protocol/'],
  ['message/'],
  ['routing/', 'store/', 'auth/', 'policy/', 'net/'],
  ['queue/'],
  ['node/'],
  ['amqp/', 'management/'],
  ['config/', 'logging.ts'],
  ['broker.ts'],
  ['index.ts', 'cli/'],
];

const escaped = (name) => name.replaceAll('.', '\\.');
const inside = (rooms) =>
  `^src/(${rooms.map((room) => escaped(room) + (room.endsWith('/') ? '' : '$')).join('|')})`;

const floorRules = FLOORS.flatMap((rooms, floor) =>
  rooms.map((room) => ({
    name: `floor-${floor}-${room.replace(/\/$|\.ts$/, '')}`,
    comment: `${room} (floor ${floor}) imports from its own folder and from lower floors only`,
    severity: 'error',
    from: { path: inside([room]) },
    to: {
      path: '^src/',
      pathNot: inside([...(room.endsWith('/') ? [room] : []), ...FLOORS.slice(0, floor).flat()]),
    },
  })),
);

/** A module that one room alone may know. */
const only = (name, modules, rooms) => ({
  name: `only-${name}`,
  comment: `${modules.join(', ')}: only ${rooms.join(' and ')} may import it`,
  severity: 'error',
  from: { path: '^src/', ...(rooms.length > 0 ? { pathNot: inside(rooms) } : {}) },
  // A module of Node is named bare, one of npm by its folder, one that is not installed bare as well.
  to: {
    path: [
      `^(node:)?(${modules.map(escaped).join('|')})($|/)`,
      `node_modules/(${modules.map(escaped).join('|')})($|/)`,
    ],
  },
});

module.exports = {
  FLOORS,
  forbidden: [
    ...floorRules,
    {
      name: 'known-room',
      comment: 'every file of src/ lies in a room that has a floor',
      severity: 'error',
      from: { path: '^src/', pathNot: inside(FLOORS.flat()) },
      to: {},
    },
    only('level', ['level', 'classic-level', 'abstract-level', 'memory-level'], ['store/level-engine.ts']),
    only('winston', ['winston', 'logform', 'triple-beam'], ['logging.ts']),
    only('net', ['net', 'tls', 'dgram'], ['net/']),
    only('http', ['http', 'https', 'http2', 'fastify'], ['management/']),
    only('commander', ['commander'], ['cli/']),
    // Cold layouts only: stored records, and the decoded frames that are shown to people.
    only('binary-parser', ['binary-parser'], ['store/records.ts', 'management/']),
    {
      name: 'no-missing-module',
      comment: 'what is imported must exist',
      severity: 'error',
      from: { path: '^src/' },
      to: { couldNotResolve: true },
    },
    {
      name: 'no-tools-at-run-time',
      comment: 'what a user installs has no development dependencies',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev'] },
    },
  ],
  options: {
    // TypeScript 7 has no JavaScript API; with the default parser dependency-cruiser would read no module at all and be content.
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.json'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
