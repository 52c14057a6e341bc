// A hook before those of all other plugins, whenever it turns out to be needed: each costs something for
// every recipient or refusal, and Haraka puts the hooks in order only once, before its start.

/** @param method of the plugin */
export function registerFirst(plugin: Haraka.Plugin, hook: string, method: string): void {
  plugin.register_hook(hook, method, -100)
  const { registered_hooks } = plugin.haraka_require('plugins')
  registered_hooks[hook]?.sort((a, b) => a.priority - b.priority || a.order - b.order)
}
