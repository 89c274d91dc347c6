// The files behind the TLS settings: read and tried at the start, so that a wrong one is found before any client meets it.
// Owns what a person is told when they cannot be used. How TLS is spoken is the business of net/.

import { readFileSync } from 'node:fs';
import { checkTls, type TlsOptions } from '../net/tls.ts';
import { type Settings, SettingsError } from './config.ts';
import { whyUnreadable } from './unreadable.ts';

/**
 * What the port `tlsPort` is opened with; null when there is none.
 * @throws SettingsError for a setting that is missing, a file that cannot be read, a key that does not belong to its certificate
 */
export function readTlsFiles(settings: Settings): TlsOptions | null {
  if (settings.tlsPort === null) return null;
  const { tlsCertificate, tlsKey, tlsAuthorities } = settings;
  if (tlsCertificate === null)
    throw new SettingsError('tlsPort needs tlsCertificate, a file with a certificate');
  if (tlsKey === null)
    throw new SettingsError('tlsPort needs tlsKey, the file with the key of tlsCertificate');
  const options: TlsOptions = {
    certificate: read('tlsCertificate', tlsCertificate),
    key: read('tlsKey', tlsKey),
    passphrase: settings.tlsPassphrase,
    authorities: tlsAuthorities === null ? null : read('tlsAuthorities', tlsAuthorities),
    clientCertificates: settings.tlsClientCertificates,
    minVersion: settings.tlsMinVersion,
    handshakeTimeoutMs: settings.handshakeTimeoutMs,
  };
  try {
    checkTls(options);
  } catch (error) {
    const { reason, message } = error as Error & { reason?: string };
    throw new SettingsError(
      `tlsCertificate, tlsKey and tlsAuthorities cannot be used together: ${(reason ?? message).replace(/\s+/g, ' ')}`,
    );
  }
  return options;
}

function read(key: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new SettingsError(`${key}: cannot read ${path}: ${whyUnreadable(error)}`);
  }
}
