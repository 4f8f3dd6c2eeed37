import type { NodeRecord } from '../registry/node-record.js';
import type { Capabilities } from './capabilities.js';

/** What was learnt of a node when it was looked at. */
export type Findings = Pick<NodeRecord, 'hostKeys' | 'installPath' | 'nodePath'> & Capabilities;
