// Node opens an inspector on SIGUSR1 unless a program listens for it. This module comes before every
// other, so that the host has no moment more than it must to make use of that.
process.on('SIGUSR1', () => {})
