import type { Capabilities } from './capabilities.js';
import type { NodeRecord } from './node-record.js';

/** What was learnt of a node when it was looked at. */
export type Findings = Pick<NodeRecord, 'hostKeys' | 'installPath' | 'nodePath'> & Capabilities;
