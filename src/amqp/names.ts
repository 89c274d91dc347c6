// What RabbitMQ does to names before it uses them.

/** RabbitMQ: CR and LF are removed from the names of exchanges and queues. */
export function cleanName(name: string): string {
  return name.includes('\n') || name.includes('\r') ? name.replace(/[\r\n]/g, '') : name;
}
