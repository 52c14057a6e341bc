// Keeps the status page fresh, and filters while one types. Without it the page works just as well, by
// reloading it and by the Filter button.
const EVERY = 10_000
/** Milliseconds for which one has to stop typing. */
const PAUSE = 250

const filter = document.getElementById('filter')
let typing

function applyFilter() {
  const query = new URLSearchParams(location.search)
  for (const [name, value] of new FormData(filter)) {
    if (value) query.set(name, value)
    else query.delete(name)
  }
  // Of other recipients, the first part.
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
    // The filter has changed meanwhile, and what it asks for is on its way.
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

/** Not while something is being copied. */
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
