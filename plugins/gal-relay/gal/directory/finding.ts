// The findings that `check` reports about a directory, one line each.

export interface Finding {
  readonly level: 'ok' | 'note' | 'warning' | 'problem'
  readonly text: string
}

export const ok = (text: string): Finding => ({ level: 'ok', text })
export const note = (text: string): Finding => ({ level: 'note', text })
export const warning = (text: string): Finding => ({ level: 'warning', text })
export const problem = (text: string): Finding => ({ level: 'problem', text })
