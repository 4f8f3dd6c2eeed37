export * from './evil-peer.js';
export * from './manual-clock.js';
