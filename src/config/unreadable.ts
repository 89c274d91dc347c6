// Why a file that a setting names could not be read, in words for the person who set it.

/** A file that could not be read, in words for people. */
export function whyUnreadable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'this user may not read it';
  return message.replace(/\s+/g, ' ');
}
