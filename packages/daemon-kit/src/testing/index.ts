export * from './manual-clock.js';
export * from './evil-peer.js';
