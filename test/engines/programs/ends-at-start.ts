console.log('printed');
console.error('complained\ntwice');
process.exitCode = 3;
