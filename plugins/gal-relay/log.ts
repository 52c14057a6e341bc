// The log for rooms that do not know Haraka. Haraka's plugin object has the same methods.

export interface Log {
  debug(text: string): void
  info(text: string): void
  notice(text: string): void
  warn(text: string): void
  error(text: string): void
}
