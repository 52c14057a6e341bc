export const filterProblem = (_: string): string | undefined => undefined
export const dnProblem = (_: string): string | undefined => undefined
