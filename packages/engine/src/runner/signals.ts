// Node opens an inspector on SIGUSR1, to whoever may send the signal. With a listener it does not.
process.on('SIGUSR1', () => {})
