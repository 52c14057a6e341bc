// Keeps the status page fresh, and filters the refusals while one types. Without it the page works
// just as well, by reloading it and by the Filter button.
const EVERY = 10_000

const filter = document.getElementById('filter')

function applyFilter() {
  if (!filter) return
  const wanted = Object.fromEntries(new FormData(filter))
  const holds = (text, part) => text.toLowerCase().includes(part.toLowerCase())
  const rows = [...document.querySelectorAll('#refusals tbody tr')]
  for (const row of rows) {
    const { client, recipient, rule } = row.dataset
    row.hidden = !(
      holds(client, wanted.client) &&
      holds(recipient, wanted.recipient) &&
      (wanted.rule === '' || rule === wanted.rule)
    )
  }
  const note = document.getElementById('shown')
  const visible = rows.filter(({ hidden }) => !hidden).length
  if (note) note.textContent = `${visible} of the last ${rows.length}`
}

async function refresh() {
  // Not while something is being copied.
  if (document.hidden || String(getSelection())) return
  const fresh = document.getElementById('fresh')
  try {
    // Without the filter in the address: all refusals come, and those that match are shown here.
    const directories = new URLSearchParams(location.search).get('directories')
    const query = directories ? `?${new URLSearchParams({ directories })}` : ''
    const response = await fetch(location.pathname + query, { cache: 'no-store' })
    if (!response.ok) throw new Error(response.statusText)
    const page = new DOMParser().parseFromString(await response.text(), 'text/html')
    for (const part of document.querySelectorAll('[data-live]')) {
      const replacement = page.getElementById(part.id)
      if (replacement) part.replaceChildren(...replacement.childNodes)
    }
    const { rule } = filter
    const chosen = rule.value
    rule.replaceChildren(...page.querySelector('#filter select').childNodes)
    rule.value = chosen
    fresh?.classList.remove('old')
    applyFilter()
  } catch {
    fresh?.classList.add('old')
  }
}

if (filter) {
  filter.addEventListener('input', applyFilter)
  filter.addEventListener('submit', (event) => event.preventDefault())
  filter.classList.add('live')
  refresh()
  setInterval(refresh, EVERY)
}
