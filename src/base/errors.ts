// The one refusal every door can translate: a reason in AMQP's words and the explanation the client reads.
// Knows no protocol: a door turns the reason into its own code (AMQP 404, HTTP 404).

/** Why a request was refused. The words are AMQP 0-9-1's reply names, in lower case. */
export type Reason =
  | 'content-too-large'
  | 'no-route'
  | 'connection-forced'
  | 'access-refused'
  | 'not-found'
  | 'resource-locked'
  | 'precondition-failed'
  | 'frame-error'
  | 'syntax-error'
  | 'command-invalid'
  | 'channel-error'
  | 'unexpected-frame'
  | 'resource-error'
  | 'not-allowed'
  | 'not-implemented'
  | 'internal-error';

/** A refusal that a client can cause. `message` is the explanation without the reply name in front. */
export class BrokerError extends Error {
  readonly reason: Reason;

  constructor(reason: Reason, explanation: string) {
    super(explanation);
    this.name = 'BrokerError';
    this.reason = reason;
  }
}
