// The door: which of Haraka's hooks the plugin takes part in, and when. The hooks themselves stand in
// gal-relay/hooks: they read Haraka's objects, ask the rooms, and turn verdicts into next().
import { watchAsNeeded } from './gal-relay/hooks/observation'
import { close, open } from './gal-relay/hooks/state'
import { rewritingBefore } from './gal-relay/report/plugin-order'

export {
  choose_path,
  deliver,
  deliver_outbound_part,
  end_transaction,
  prepare,
  refuse_loops,
} from './gal-relay/hooks/message'
export { watch_end, watch_recipient } from './gal-relay/hooks/observation'
export { find_next_hops, name_recipients } from './gal-relay/hooks/queued'
export { accept_unasked, begin_recipient, check_recipient } from './gal-relay/hooks/recipients'
export { keep_refusal } from './gal-relay/hooks/refusals'
export { serve_status, start } from './gal-relay/hooks/start'
export { begin_transaction, trust_client, trust_transaction } from './gal-relay/hooks/trust'
export { close as shutdown }

export function register(this: Haraka.Plugin): void {
  const isRewritten = rewritingBefore(this.config, this.name)
  open(this, () => watchAsNeeded(this, isRewritten))
  // What takes longer than Haraka waits for a plugin would be answered with "later" and be done all the
  // same: mail would go out, and again with each attempt. RCPT is bounded by `answer_within`.
  this.timeout = 0
  this.register_hook('init_master', 'start')
  this.register_hook('init_child', 'start')
  this.register_hook('init_http', 'serve_status')
  this.register_hook('connect', 'trust_client', -100)
  this.register_hook('mail', 'begin_transaction', -100)
  this.register_hook('rcpt', 'check_recipient')
  this.register_hook('rcpt', 'accept_unasked', 100)
  this.register_hook('data', 'trust_transaction', -100)
  this.register_hook('reset_transaction', 'end_transaction', 100)
  this.register_hook('data_post', 'refuse_loops', -100)
  this.register_hook('data_post', 'choose_path', 100)
  this.register_hook('queue', 'prepare', -100)
  this.register_hook('queue_outbound', 'prepare', -100)
  this.register_hook('queue_outbound', 'deliver', 100)
  this.register_hook('queue_ok', 'deliver_outbound_part', -100)
  this.register_hook('get_mx', 'find_next_hops', -100)
  this.register_hook('bounce', 'name_recipients', -100)
}
