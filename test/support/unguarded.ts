// Reads the plugin's code with TypeScript's own checker and finds the work that nobody waits for, and
// whether it is guarded.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { CallExpression, NewExpression, Node } from 'typescript/unstable/ast'
import { REPOSITORY } from './haraka'

export interface Found {
  /** `plugins/gal-relay/….ts:12` */
  readonly at: string
  /** The first line of it. */
  readonly text: string
  readonly why: string
}

/** Work with a guard. */
export interface GuardedWork {
  /** Its name in the log. */
  readonly what: string
  readonly at: string
}

const GUARD = 'plugins/gal-relay/guard.ts'
const HARAKA = 'plugins/haraka.d.ts'
const PLUGIN = /^plugins\/.*(?<!\.d)\.ts$/
export const SAMPLES = 'test/support/unguarded-samples.ts'

/** The index of the argument that is the name. */
const GUARDS: Readonly<Record<string, number>> = {
  guard: 0,
  unattended: 0,
  soon: 0,
  later: 1,
  every: 1,
}

/** Libraries that call a function before they return, or while it is awaited. */
const AT_ONCE: readonly [library: RegExp, why: string][] = [
  [/\/lib\/lib\.es[^/]*$/, 'ECMAScript: at once, or what it throws settles a promise'],
  [/^node_modules\/valibot\//, 'while settings are read'],
  [/^node_modules\/commander\//, 'awaited by parseAsync'],
  [/^node_modules\/lru-cache\//, 'at once'],
  [/^node_modules\/cockatiel\//, 'at once'],
]

/** Functions of ours that others call without a guard, and why they need none. */
const UNGUARDED: readonly [file: string, text: RegExp, why: string][] = [
  ['haraka/internals.ts', /^connection\.received_line = /, 'catches by itself'],
  ['haraka/internals.ts', /^sender\.format = /, 'Haraka calls it within its own try'],
  [
    'haraka/internals.ts',
    /^(net_utils\.get_(mx|ips_by_host)|outbound\.process_delivery)\(/,
    'settles a promise with what it is given',
  ],
  ['cli/main.ts', /^console\.log = console\.error$/, "Node's own"],
]

interface Inspected {
  readonly unguarded: readonly Found[]
  readonly work: readonly GuardedWork[]
}

let inspected: Promise<Inspected> | undefined

/**
 * @param file SAMPLES; default all files of the plugin
 * @throws Error if the code cannot be read
 */
export async function inspectCode(file?: string): Promise<Inspected> {
  inspected ??= inspectOnce()
  const { unguarded, work } = await inspected
  const isWanted = ({ at }: { readonly at: string }) => at.startsWith(`${SAMPLES}:`) === !!file
  return { unguarded: unguarded.filter(isWanted), work: work.filter(isWanted) }
}

/** It takes seconds, so that the test files of one run share the result. */
async function inspectOnce(): Promise<Inspected> {
  const folder = process.env.TEST_RUN_FOLDER
  if (!folder) return inspect()
  const file = path.join(folder, 'inspected-code')
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Inspected
  const result = await inspect()
  writeFileSync(`${file}-${process.pid}`, JSON.stringify(result))
  renameSync(`${file}-${process.pid}`, file)
  return result
}

async function inspect(): Promise<Inspected> {
  const { API, SignatureKind } = await import('typescript/unstable/sync')
  const { SyntaxKind } = await import('typescript/unstable/ast')
  const is = await import('typescript/unstable/ast/is')
  const api = new API({ cwd: REPOSITORY })
  const config = path.join(REPOSITORY, 'tsconfig.json')
  const [project] = api.updateSnapshot({ openProject: config }).getProjects()
  if (!project) throw new Error(`${config} is no project`)
  const { program, checker } = project
  const unguarded: Found[] = []
  const work: GuardedWork[] = []

  const typeText = (node: Node): string => {
    const type = checker.getTypeAtLocation(node)
    return type ? checker.typeToString(type) : ''
  }

  /** The argument is a promise's own resolve or reject: these cannot throw. */
  const settles = (node: Node): boolean => {
    if (!is.isIdentifier(node)) return false
    const declared = checker.getSymbolAtLocation(node)?.valueDeclaration
    const executor = declared?.kind === SyntaxKind.Parameter && declared.resolve()?.parent
    const made = executor ? executor.parent : undefined
    return Boolean(made && is.isNewExpression(made) && made.expression.getText() === 'Promise')
  }

  const isEmpty = (node: Node): boolean =>
    is.isArrowFunction(node) && is.isBlock(node.body) && node.body.statements.length === 0

  /** `promise.catch(() => {})` */
  const isCaught = (node: Node): boolean => {
    if (!is.isCallExpression(node) || !is.isPropertyAccessExpression(node.expression)) return false
    const [given] = node.arguments
    return node.expression.name.text === 'catch' && given !== undefined && isEmpty(given)
  }

  /** TypeScript's server panics when it is asked for the type of some arrays. */
  const NO_FUNCTIONS = [
    is.isStringLiteral,
    is.isObjectLiteralExpression,
    is.isArrayLiteralExpression,
  ]
  const isUnguarded = (node: Node): boolean => {
    if (NO_FUNCTIONS.some((isOne) => isOne(node))) return false
    const type = checker.getTypeAtLocation(node)
    const some = type && checker.getNonNullableType(type)
    if (!some || checker.getSignaturesOfType(some, SignatureKind.Call).length === 0) return false
    // A property that only the type `Guarded` has.
    const isGuarded = checker.getPropertiesOfType(some).some(({ name }) => /guarded/.test(name))
    return !isGuarded && !isEmpty(node) && !settles(node)
  }

  /** @returns the file of a declaration, such as `node_modules/valibot/…`; undefined for our own code */
  const foreign = (where: string | undefined): string | undefined => {
    const file = path.relative(REPOSITORY, where ?? '')
    if (/(^|\/)node_modules\//.test(file)) return file.slice(file.indexOf('node_modules/'))
    if (file === HARAKA) return file
    return /^(plugins|test)\//.test(file) ? undefined : file
  }

  for (const name of program.getSourceFileNames()) {
    const file = path.relative(REPOSITORY, name)
    if ((!PLUGIN.test(file) && file !== SAMPLES) || file === GUARD) continue
    const source = program.getSourceFile(name)
    if (!source) throw new Error(`${name} cannot be read`)
    const code = readFileSync(name, 'utf8')
    const at = (node: Node) => `${file}:${code.slice(0, node.getStart()).split('\n').length}`
    const found = (node: Node, why: string) => {
      const text = node.getText()
      if (UNGUARDED.some(([of, what]) => file.endsWith(of) && what.test(text))) return
      unguarded.push({ at: at(node), text: text.split('\n', 1)[0]?.slice(0, 80) ?? '', why })
    }
    const visitCall = (node: CallExpression | NewExpression) => {
      const place = GUARDS[node.expression.getText()]
      if (place !== undefined) {
        const what = node.arguments?.[place]
        if (what && is.isStringLiteral(what)) work.push({ what: what.text, at: at(node) })
        else found(node, 'its name is no string')
        return
      }
      const given = node.arguments?.filter(isUnguarded) ?? []
      if (given.length === 0) return
      const declaration = checker.getResolvedSignature(node)?.declaration
      const library = declaration && foreign(declaration.path)
      if (library === undefined || AT_ONCE.some(([which]) => which.test(library))) return
      found(node, `a function that is called later, by ${library}`)
    }
    const visit = (node: Node): void => {
      node.forEachChild(visit)
      if (is.isVoidExpression(node)) found(node, 'void')
      // A promise that is stored somewhere is awaited by the code that takes it from there.
      if (
        is.isExpressionStatement(node) &&
        !is.isBinaryExpression(node.expression) &&
        !isCaught(node.expression) &&
        /(^|\| )Promise</.test(typeText(node.expression))
      ) {
        found(node, 'a promise that nobody awaits')
      }
      if (is.isCallExpression(node) || is.isNewExpression(node)) visitCall(node)
      if (
        is.isBinaryExpression(node) &&
        node.operatorToken.kind === SyntaxKind.EqualsToken &&
        is.isPropertyAccessExpression(node.left) &&
        isUnguarded(node.right)
      ) {
        const where = checker.getSymbolAtLocation(node.left.name)?.valueDeclaration
        if (where && foreign(where.path)) found(node, 'a function that others call')
      }
    }
    visit(source)
  }
  api.close()
  return { unguarded, work }
}
