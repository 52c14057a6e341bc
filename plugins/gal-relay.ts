// The entry point: which of Haraka's hooks the plugin uses, and in which order. The hooks themselves are in
// gal-relay/hooks, one file for each moment: they read Haraka's objects, ask the other rooms, and turn verdicts
// into next(). Hooks that few messages need are registered there, with the first such message.
import { close, open } from './gal-relay/hooks/start'

export { trust_client } from './gal-relay/hooks/connect'
export { begin_transaction } from './gal-relay/hooks/mail'
export {
  begin_data,
  choose_path,
  deliver,
  deliver_outbound_part,
  end_transaction,
  prepare,
} from './gal-relay/hooks/message'
export { find_next_hops, name_recipients } from './gal-relay/hooks/queued-mail'
export { accept_unasked, begin_recipient, check_recipient } from './gal-relay/hooks/rcpt'
export { keep_refusal } from './gal-relay/hooks/reply'
export { serve_status, start } from './gal-relay/hooks/start'
export { close as shutdown }

export function register(this: Haraka.Plugin): void {
  open(this)
  // If a hook took longer than Haraka's time-out, the client would be told to try later although the work goes
  // on: mail would go out now, and again with each attempt. RCPT is limited by `answer_within`.
  this.timeout = 0
  this.register_hook('init_master', 'start')
  this.register_hook('init_child', 'start')
  this.register_hook('init_http', 'serve_status')
  this.register_hook('connect', 'trust_client', -100)
  this.register_hook('mail', 'begin_transaction', -100)
  this.register_hook('rcpt', 'check_recipient')
  this.register_hook('rcpt', 'accept_unasked', 100)
  this.register_hook('data', 'begin_data', -100)
  this.register_hook('data_post', 'choose_path', 100)
  this.register_hook('queue', 'prepare', -100)
  this.register_hook('queue_outbound', 'prepare', -100)
  this.register_hook('queue_outbound', 'deliver', 100)
  this.register_hook('get_mx', 'find_next_hops', -100)
  this.register_hook('bounce', 'name_recipients', -100)
}
