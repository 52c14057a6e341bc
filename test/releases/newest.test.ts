// The release that this package develops against; or the one that HARAKA_RELEASE names, on HARAKA_NODE.
import { describeRelease } from './suite'

describeRelease(undefined)
