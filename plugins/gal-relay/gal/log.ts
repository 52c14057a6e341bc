export interface Log {
  debug(text: string): void
  info(text: string): void
  notice(text: string): void
  warn(text: string): void
  error(text: string): void
}
