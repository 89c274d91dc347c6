// The words the protocol is written down in: what a class, a method and a field are.
// Owns types only. The table itself is in `amqp0-9-1.ts`, RabbitMQ's additions in `extensions.ts`.

/**
 * How a field lies on the wire.
 * - `name`: a short string that repeats (queue, consumer tag, vhost); interned, refused when it is not UTF-8.
 * - `anyname`: the same, but bytes that are not UTF-8 are kept. RabbitMQ checks every short string of a method except those
 *   of basic.publish, so what a publisher sent comes back in deliver, return and get-ok too.
 * - `tag`: a longlong delivery tag.
 * - `bit`: consecutive bits share one octet, the first in its least significant bit.
 */
export type FieldType =
  | 'bit'
  | 'octet'
  | 'short'
  | 'long'
  | 'tag'
  | 'shortstr'
  | 'name'
  | 'anyname'
  | 'longstr'
  | 'table';

/** One argument of a method. */
export interface FieldSpec {
  /** AMQP's name, dashes between words. */
  readonly name: string;
  readonly type: FieldType;
  /** Written as 0 or empty and ignored on receipt; not part of the generated interface. */
  readonly reserved: boolean;
}

/** Who may send a method. */
export type Sender = 'client' | 'server' | 'both';

/** One method of a class. */
export interface MethodSpec {
  readonly id: number;
  readonly name: string;
  readonly sentBy: Sender;
  /** True when the sender waits for a reply. */
  readonly synchronous: boolean;
  /** True when a content header and body frames follow. */
  readonly hasContent: boolean;
  readonly fields: readonly FieldSpec[];
}

/** One class. */
export interface ClassSpec {
  readonly id: number;
  readonly name: string;
  readonly methods: readonly MethodSpec[];
}

/** How a basic property lies on the wire; `interned` short strings repeat from message to message. */
export type PropertyType = 'octet' | 'timestamp' | 'shortstr' | 'interned' | 'table';

/** One property of a content header. */
export interface PropertySpec {
  /** Its bit in the flags word. */
  readonly bit: number;
  readonly name: string;
  readonly type: PropertyType;
  /** True when the broker looks at it on the message path, so that `PropertyScan` notes where it is. */
  readonly peeked: boolean;
}

/** One reply code. A soft one closes the channel, a hard one the connection. */
export interface ReplyCode {
  readonly code: number;
  readonly name: string;
  readonly kind: 'success' | 'soft' | 'hard';
}

/** One type of value in a field table. */
export interface FieldTag {
  /** The octet in front of the value, as a character. */
  readonly tag: string;
  /** RabbitMQ's name for the type, as it appears in reply texts and in the management API. */
  readonly name: string;
  /** Octets of the value; null when its first four octets say how many follow. */
  readonly size: number | null;
}

/** The whole protocol, extensions merged in, everything in rising order of id. */
export interface ProtocolSpec {
  readonly classes: readonly ClassSpec[];
  readonly properties: readonly PropertySpec[];
  readonly replyCodes: readonly ReplyCode[];
  readonly fieldTags: readonly FieldTag[];
}

/** An argument: `'queue: name'`. */
export function field(text: string): FieldSpec {
  const [name, type] = text.split(': ');
  if (name === undefined || type === undefined) throw new Error(`not a field: ${text}`);
  return { name, type: type as FieldType, reserved: false };
}

/** An argument without a meaning any more. */
export function reserved(type: FieldType): FieldSpec {
  return { name: 'reserved', type, reserved: true };
}

/** A list of arguments: `fields('queue: name', 'if-unused: bit')`; a text without a colon is a reserved argument of that type. */
export function fields(...texts: readonly string[]): readonly FieldSpec[] {
  return texts.map((text) => (text.includes(':') ? field(text) : reserved(text as FieldType)));
}

/** A method whose sender waits for the reply. */
export function request(id: number, name: string, sentBy: Sender, args: readonly FieldSpec[]): MethodSpec {
  return { id, name, sentBy, synchronous: true, hasContent: false, fields: args };
}

/** A method nobody answers, or an answer itself. */
export function notice(id: number, name: string, sentBy: Sender, args: readonly FieldSpec[]): MethodSpec {
  return { id, name, sentBy, synchronous: false, hasContent: false, fields: args };
}

/** A method that a content header and body frames follow. */
export function content(id: number, name: string, sentBy: Sender, args: readonly FieldSpec[]): MethodSpec {
  return { id, name, sentBy, synchronous: false, hasContent: true, fields: args };
}
