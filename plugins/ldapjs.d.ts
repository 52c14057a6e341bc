// What we use of two packages of ldapjs that have no types of their own.
declare module '@ldapjs/dn' {
  export const DN: { fromString(text: string): unknown }
}

declare module '@ldapjs/protocol' {
  export function resultCodeToName(code: number): string | undefined
}
