// What a request to the page selects: a part of each long list, and which recent recipients. All of
// it is in the URL, so that a link or a reload shows the same again.
import { type Html, html } from './html'

/** Lists that may be long; each has its page number in the URL, under its name. */
export type ListName =
  | 'listeners'
  | 'waiting'
  | 'directories'
  | 'held'
  | 'domains'
  | 'rows'
  | 'hosts'
  | 'recent'

export interface Part<T> {
  readonly shown: readonly T[]
  /** Links to the other parts; `undefined` if there are none. */
  readonly pager: Html | undefined
}

/**
 * @param asked the query string of the URL
 * @param anchor the section that the list is in
 */
export function partOf<T>(
  all: readonly T[],
  list: ListName,
  asked: URLSearchParams,
  { size, anchor }: { readonly size: number; readonly anchor: string },
): Part<T> {
  const pages = Math.max(1, Math.ceil(all.length / size))
  const wanted = Math.trunc(Number(asked.get(list))) || 1
  const page = Math.min(Math.max(1, wanted), pages)
  const link = (to: number, text: string) =>
    html`<a href="${linkTo(asked, { [list]: String(to) }, anchor)}">${text}</a>`
  return {
    shown: all.slice((page - 1) * size, page * size),
    pager:
      pages > 1
        ? html`<p class="pager">${page > 1 && link(page - 1, 'Previous')}
<span>Page ${page} of ${pages}</span>
${page < pages && link(page + 1, 'Next')}</p>`
        : undefined,
  }
}

/** The same page with these query parameters changed; '' removes one. */
export function linkTo(
  asked: URLSearchParams,
  changed: Readonly<Record<string, string>>,
  anchor: string,
): string {
  const query = new URLSearchParams(asked)
  for (const [name, value] of Object.entries(changed)) {
    if (value === '') query.delete(name)
    else query.set(name, value)
  }
  return `?${query}#${anchor}`
}
