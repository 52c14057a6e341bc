// Runs in the browser, as a string that test/page/status-page.browser.test.ts hands over.
// The texts whose contrast with what is behind them is below 4.5 : 1 (WCAG 2, level AA).
;(() => {
  const channels = (color) => (color.match(/[\d.]+/g) ?? []).map(Number)
  const luminance = (color) => {
    const [r, g, b] = channels(color)
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element) => {
    if (!element) return 'rgb(255, 255, 255)'
    const color = getComputedStyle(element).backgroundColor
    return channels(color)[3] === 0 ? behind(element.parentElement) : color
  }
  const found = new Set()
  for (const element of document.querySelectorAll('body *')) {
    const texts = [...element.childNodes].filter(({ nodeType }) => nodeType === Node.TEXT_NODE)
    const own = texts.some(({ textContent }) => textContent.trim() !== '')
    if (!own || element instanceof SVGElement || !element.checkVisibility()) continue
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))]
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (contrast < 4.5) found.add(`${contrast.toFixed(2)} ${element.textContent.slice(0, 40)}`)
  }
  return [...found]
})()
