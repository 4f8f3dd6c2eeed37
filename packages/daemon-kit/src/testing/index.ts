export * from './evil-peer.js';
export * from './manual-clock.js';
export * from './scan-routes.js';
