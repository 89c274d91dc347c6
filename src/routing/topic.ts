// Topic routing: a trie of dot-separated words; `*` is one word, `#` is zero or more.
// Owns which destinations match a key. Knows nothing of queues: a destination is opaque.
// Invariants: a node without destinations and children is not in the trie; every cached result was computed with the bindings
// that hold now; one look-up visits a node at most once per word of the key, however many `#` the bindings have.

import { DestinationList } from './destination-list.ts';
import { RouteCache } from './route-cache.ts';
import { type Binding, type Destination, NO_HISTORY, type Routable, type Router } from './router.ts';

/** The words before a node, as a path from the root. */
class Node {
  readonly parent: Node | null;
  /** The last word of the path. */
  readonly word: string;
  /** Next words that stand for themselves. */
  children: Map<string, Node> | null = null;
  /** Next word `*`. */
  star: Node | null = null;
  /** Next word `#`. */
  hash: Node | null = null;
  /** Bindings whose key ends here. */
  destinations: DestinationList | null = null;
  /** Look-up that visited this `#` node last. */
  visit = 0;
  /** In that look-up: all words from this index on have been tried behind this `#`. */
  triedFrom = 0;

  constructor(parent: Node | null, word: string) {
    this.parent = parent;
    this.word = word;
  }

  get isUnused(): boolean {
    return this.destinations === null && this.children === null && this.star === null && this.hash === null;
  }
}

/** Results up to this long are kept free of duplicates by searching them, longer ones by a Set. */
const SEARCH_MAX = 16;

export class TopicRouter implements Router {
  readonly byKeyOnly = true;
  readonly history = NO_HISTORY;
  readonly #root = new Node(null, '');
  readonly #cache = new RouteCache();
  /** Number of the current look-up. */
  #visit = 0;
  /** What the current look-up found, one list per matching binding key. */
  readonly #found: DestinationList[] = [];

  // RabbitMQ refuses more than two `#` since 4.3.5, because its matching takes exponential time. Ours does not, and older
  // versions allowed them, so every key is fine here.
  check(_binding: Binding): void {}

  bind(binding: Binding): void {
    const words = split(binding.routingKey);
    let node = this.#root;
    for (let i = 0; i < words.length; i++) node = childFor(node, words[i]!);
    node.destinations ??= new DestinationList();
    node.destinations.add(binding.destination);
    this.#cache.clear();
  }

  unbind(binding: Binding): void {
    const words = split(binding.routingKey);
    let node: Node | null = this.#root;
    for (let i = 0; i < words.length && node !== null; i++) node = findChild(node, words[i]!);
    if (node === null || node.destinations === null) return;
    node.destinations.remove(binding.destination);
    if (node.destinations.isEmpty) node.destinations = null;
    prune(node);
    this.#cache.clear();
  }

  route(_message: Routable, keys: readonly string[], out: Destination[]): void {
    for (let i = 0; i < keys.length; i++) this.#routeKey(keys[i]!, out);
  }

  #routeKey(key: string, out: Destination[]): void {
    let result = this.#cache.get(key);
    if (result === null) {
      result = this.#match(key);
      this.#cache.set(key, result);
    }
    for (let i = 0; i < result.length; i++) out.push(result[i]!);
  }

  /** Nodes in the trie without the root, for tests and metrics. */
  get nodeCount(): number {
    return countBelow(this.#root);
  }

  #match(key: string): readonly Destination[] {
    this.#visit += 1;
    this.#walk(this.#root, split(key), 0);
    const found = this.#found;
    let result: readonly Destination[];
    if (found.length === 0) result = NOTHING;
    else result = found.length === 1 ? found[0]!.items.slice() : union(found);
    found.length = 0;
    return result;
  }

  /** Collects what matches below `node` when `words` before `at` have been used up. */
  #walk(node: Node, words: readonly string[], at: number): void {
    if (node.hash !== null) this.#walkHash(node.hash, words, at);
    if (at === words.length) {
      if (node.destinations !== null) this.#found.push(node.destinations);
      return;
    }
    const child = node.children?.get(words[at]!);
    if (child !== undefined) this.#walk(child, words, at + 1);
    if (node.star !== null) this.#walk(node.star, words, at + 1);
  }

  /** As #walk for a `#` node, which may use up any number of words first. */
  #walkHash(node: Node, words: readonly string[], at: number): void {
    // A `#` node reached again further right has nothing new to try; further left, only what lies before the earlier start.
    const end = node.visit === this.#visit ? node.triedFrom : words.length + 1;
    if (at >= end) return;
    node.visit = this.#visit;
    node.triedFrom = at;
    for (let i = at; i < end; i++) this.#walk(node, words, i);
  }
}

const NOTHING: readonly Destination[] = [];

/** RabbitMQ: the empty key has no words at all, while `.` has two empty ones. */
function split(key: string): readonly string[] {
  return key === '' ? [] : key.split('.');
}

function childFor(node: Node, word: string): Node {
  const found = findChild(node, word);
  if (found !== null) return found;
  const child = new Node(node, word);
  if (word === '*') node.star = child;
  else if (word === '#') node.hash = child;
  else {
    node.children ??= new Map();
    node.children.set(word, child);
  }
  return child;
}

function findChild(node: Node, word: string): Node | null {
  if (word === '*') return node.star;
  if (word === '#') return node.hash;
  return node.children?.get(word) ?? null;
}

/** Removes `node` and its ancestors as far as nothing hangs on them. */
function prune(from: Node): void {
  let node = from;
  while (node.parent !== null && node.isUnused) {
    const parent = node.parent;
    if (node.word === '*') parent.star = null;
    else if (node.word === '#') parent.hash = null;
    else if (parent.children !== null) {
      parent.children.delete(node.word);
      if (parent.children.size === 0) parent.children = null;
    }
    node = parent;
  }
}

/** Each destination of the lists once. */
function union(lists: readonly DestinationList[]): readonly Destination[] {
  let total = 0;
  for (let i = 0; i < lists.length; i++) total += lists[i]!.items.length;
  if (total > SEARCH_MAX) {
    const seen = new Set<Destination>();
    for (let i = 0; i < lists.length; i++) for (const destination of lists[i]!.items) seen.add(destination);
    return [...seen];
  }
  const result: Destination[] = [];
  for (let i = 0; i < lists.length; i++) {
    const items = lists[i]!.items;
    for (let j = 0; j < items.length; j++) if (!result.includes(items[j]!)) result.push(items[j]!);
  }
  return result;
}

function countBelow(node: Node): number {
  let count = 0;
  if (node.star !== null) count += 1 + countBelow(node.star);
  if (node.hash !== null) count += 1 + countBelow(node.hash);
  if (node.children !== null) for (const child of node.children.values()) count += 1 + countBelow(child);
  return count;
}
