// What a program that embeds a broker imports. Everything else is internal and may change.

export type { Clock } from './base/clock.ts';
export { BrokerError, type Reason } from './base/errors.ts';
export { FakeClock } from './base/fake-clock.ts';
export type { LogFields, Logger } from './base/logger.ts';
export type { Json } from './base/terms.ts';
export {
  Broker,
  type BrokerOptions,
  type PermissionOptions,
  type TopicPermissionOptions,
  type UserOptions,
} from './broker.ts';
export { DEFAULTS, type Settings, SettingsError } from './config/config.ts';
export type { Death } from './message/death-history.ts';
export { ListenError } from './net/listener.ts';
export type { DefinitionsFile } from './node/definitions-file.ts';
export type { ImportCounts } from './node/definitions-import.ts';
export type { DelayedCounts, DelayedMessage, DelayedPage } from './node/delayed-messages.ts';
export type {
  MoveTarget,
  PeekOptions,
  PeekPage,
  QueueOperator,
  RedriveHandle,
  RedriveRequest,
  Selection,
  SelectionResult,
} from './node/operations.ts';
export type { QueueInfo } from './node/operations-info.ts';
export type { StayReason } from './node/operations-transfer.ts';
export type { PolicyKind, PolicyOptions, PolicyRow } from './node/parameters.ts';
export type { PolicyFacts } from './node/policies.ts';
export type { RedriveProgress, RedriveState } from './node/redrive.ts';
export type { VHostMetadata } from './node/vhost-metadata.ts';
export type { Parameter } from './policy/parameters.ts';
export type { MessagePlace, MessageState } from './queue/peek.ts';
export type { FilteredProperties, MessageFilter } from './queue/peek-filter.ts';
export type { PeekedMessage, PlainProperties } from './queue/peek-view.ts';
export { memoryStore } from './store/log-store.ts';
export { type Store, StoreError } from './store/store.ts';
