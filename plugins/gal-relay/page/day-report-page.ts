// The report of a day as a self-contained page for mail programs: it has its own style and loads nothing.
import type { ReportSection } from './day-report-sections'
import { type Html, html, shown } from './html'

export function reportPage(title: string, sections: readonly ReportSection[]): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
</head>
<body style="font: 14px/1.5 system-ui, sans-serif; max-width: 60em; margin: 1em auto; padding: 0 1em">
<h1 style="font-size: 1.4em">${title}</h1>
${sections.map(section)}
</body>
</html>
`
}

function section({ title, lines = [], rows = [] }: ReportSection): Html {
  return html`${
    title
      ? html`<h2 style="font-size: 1.1em; margin: 1.5em 0 0.3em">${title}</h2>
`
      : undefined
  }${lines.map(
    (line) => html`<p style="margin: 0.3em 0">${shown(line)}</p>
`,
  )}${
    rows.length > 0 &&
    html`<table style="border-collapse: collapse">
${rows.map(row)}</table>
`
  }`
}

const row = (cells: readonly string[]) => html`<tr>${cells.map(cell)}</tr>
`

function cell(text: string, place: number): Html {
  const align = place === 0 ? 'right' : 'left'
  return html`<td style="padding: 0.1em 1em 0.1em 0; text-align: ${align}; vertical-align: top; overflow-wrap: anywhere">${shown(text)}</td>`
}
