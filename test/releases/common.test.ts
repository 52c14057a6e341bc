// What most installs run: the last release before addresses changed.
import { describeRelease } from './suite'

describeRelease('3.1.7')
