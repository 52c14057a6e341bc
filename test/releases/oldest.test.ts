import { OLDEST } from '../../plugins/gal-relay/haraka/internals'
import { describeRelease } from './suite'

describeRelease(OLDEST)
