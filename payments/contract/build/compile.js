// Compiles Tolk files. For each it writes the code, and prints the code's hash as TON names it.
//
//     node compile.js SOURCE.tolk OUT.boc [SOURCE.tolk OUT.boc ...]
//
// The compiler is pinned to 1.0: later ones emit instructions that the virtual machine of the local chain lacks.
const fs = require('fs');
const { getTolkCompilerVersion, runTolkCompiler } = require('@ton/tolk-js');
const pinned = require('./package.json').dependencies['@ton/tolk-js'];

async function compile(source) {
  const result = await runTolkCompiler({
    entrypointFileName: source,
    fsReadCallback: (path) => fs.readFileSync(path, 'utf8'),
  });
  if (result.status !== 'ok') throw new Error(result.message);
  return result;
}

async function main(...paths) {
  const version = await getTolkCompilerVersion();
  if (version !== pinned) throw new Error(`the compiler is ${version}, not ${pinned}`);
  for (let i = 0; i < paths.length; i += 2) {
    const result = await compile(paths[i]);
    fs.writeFileSync(paths[i + 1], Buffer.from(result.codeBoc64, 'base64'));
    console.log(result.codeHashHex.toLowerCase());
  }
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
