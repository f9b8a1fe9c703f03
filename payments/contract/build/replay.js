// Runs recorded transactions on the virtual machine of @ton/sandbox, and says where it came to anything else.
//
//     node replay.js TRACE.json
//
// TRACE is { config, rows: [{ account, message, now, lt, seed, transaction, after, rejected }] }: the configuration,
// each account before and each message are bags of cells in base64; `transaction` and `after` are the hashes of what
// the other machine made of them, null where it rejected an external message, with the exit code in `rejected`.
// Prints { same, rejected, different: [...] }.
const fs = require('fs');
const { Executor } = require('@ton/sandbox');
const { Cell, loadShardAccount, loadTransaction } = require('@ton/core');

async function run(executor, config, row) {
  const { result } = await executor.runTransaction({
    config,
    libs: null,
    verbosity: 'short',
    shardAccount: row.account,
    message: Cell.fromBase64(row.message),
    now: row.now,
    lt: BigInt(row.lt),
    randomSeed: Buffer.from(row.seed, 'hex'),
    ignoreChksig: false,
    debugEnabled: false,
  });
  if (!result.success) return { rejected: result.vmResults ? result.vmResults.vmExitCode : null };
  const transaction = Cell.fromBase64(result.transaction);
  const after = Cell.fromBase64(result.shardAccount);
  const described = loadTransaction(transaction.beginParse());
  const { account } = loadShardAccount(after.beginParse());
  return {
    rejected: null,
    transaction: transaction.hash().toString('hex'),
    after: after.hash().toString('hex'),
    exit: described.description.computePhase && described.description.computePhase.exitCode,
    fees: described.totalFees.coins.toString(),
    balance: account ? account.storage.balance.coins.toString() : '0',
  };
}

async function main(path) {
  const { config, rows } = JSON.parse(fs.readFileSync(path, 'utf8'));
  const executor = await Executor.create();
  const report = { same: 0, rejected: 0, different: [] };
  for (const [number, row] of rows.entries()) {
    const found = await run(executor, config, row);
    if (row.transaction === null && found.rejected !== null && found.rejected === row.rejected) report.rejected += 1;
    else if (row.transaction !== null && found.transaction === row.transaction && found.after === row.after) report.same += 1;
    else report.different.push({ number, recorded: { ...row, account: undefined, message: undefined }, found });
  }
  console.log(JSON.stringify(report));
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
