// What all pages share: the document around them, and the form that asks for an explanation.
import { type Html, html } from './html'

/** The fields of the form, all as text; empty if not given. */
export interface Asked {
  readonly recipient: string
  readonly client: string
  readonly listener: string
  readonly account: string
  readonly sender: string
}

export function frame(title: string, content: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="page.css">
<link rel="stylesheet" href="sections.css">
<script src="page.js" defer></script>
</head>
<body>
${content}
</body>
</html>
`
}

export function explainForm(asked: Partial<Asked>): Html {
  return html`<form class="fields" action="explain" method="get">
${field('Recipient', 'recipient', asked.recipient, 'user@example.com', true)}
${field('Client address', 'client', asked.client, '192.0.2.1', true)}
${field('Listener', 'listener', asked.listener, '10.0.0.5:25', true)}
${field('Account', 'account', asked.account, 'none')}
${field('Sender', 'sender', asked.sender, 'any')}
<button>Explain</button>
</form>`
}

function field(
  label: string,
  name: keyof Asked,
  value: string | undefined,
  example: string,
  required = false,
): Html {
  return html`<label>${label}<input name="${name}" value="${value ?? ''}" placeholder="${example}" autocomplete="off" spellcheck="false" autocapitalize="off"${required && html` required`}></label>`
}

/** A link that fills in the form and submits it. */
export function explainUrl(asked: Asked): string {
  return `explain?${new URLSearchParams({ ...asked })}`
}
