// Keeps the status page fresh, and filters as the user types. Without this script, the page works
// as well with a reload and the Filter button.
const EVERY = 10_000
/** Milliseconds without typing before the filter is applied. */
const PAUSE = 250

const filter = document.getElementById('filter')
let typing

function applyFilter() {
  const query = new URLSearchParams(location.search)
  for (const [name, value] of new FormData(filter)) {
    if (value) query.set(name, value)
    else query.delete(name)
  }
  // The filter changes which recipients are listed, so show the first page.
  query.delete('recent')
  history.replaceState(null, '', `?${query}${location.hash}`)
  refresh()
}

async function refresh() {
  const fresh = document.getElementById('fresh')
  const asked = location.search
  try {
    const response = await fetch(location.pathname + asked, { cache: 'no-store' })
    if (!response.ok) throw new Error(response.statusText)
    const page = new DOMParser().parseFromString(await response.text(), 'text/html')
    // The filter has changed meanwhile, and its own request is on the way.
    if (asked !== location.search) return
    for (const part of document.querySelectorAll('[data-live]')) {
      const replacement = page.getElementById(part.id)
      if (!replacement) continue
      part.hidden = replacement.hidden
      part.replaceChildren(...replacement.childNodes)
    }
    const { rule } = filter
    const chosen = rule.value
    rule.replaceChildren(...page.querySelector('#filter [name=rule]').childNodes)
    rule.value = chosen
    fresh?.classList.remove('old')
  } catch {
    fresh?.classList.add('old')
  }
}

/** Skips the refresh if the page is hidden or the user has selected text to copy. */
function refreshUnlooked() {
  if (!document.hidden && !String(getSelection())) refresh()
}

if (filter) {
  filter.addEventListener('input', () => {
    clearTimeout(typing)
    typing = setTimeout(applyFilter, PAUSE)
  })
  filter.addEventListener('submit', (event) => {
    event.preventDefault()
    applyFilter()
  })
  filter.classList.add('live')
  setInterval(refreshUnlooked, EVERY)
}
