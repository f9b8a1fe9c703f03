// js-libp2p as one end of a pair that benchmarks/transport.py measures; the same commands as
// benchmarks/_transport_peer.py, one line of JSON each.
//
//   node tests/interop/peer/bench.mjs noise|tls

import { createInterface } from 'node:readline'
import { multiaddr } from '@multiformats/multiaddr'

import { startNode } from './libp2p.mjs'

const ECHO = '/benchmark/echo/1'
const SINK = '/benchmark/sink/1'
const BLOCK_BYTES = 64 * 1024
const SETTLE_MILLISECONDS = 30

// Its pings would wait behind the bulk that is measured, and then end the connection.
const node = await startNode({ security: process.argv[2], options: { connectionMonitor: { enabled: false } } })
const many = { maxInboundStreams: 1 << 20, maxOutboundStreams: 1 << 20 }
let connection

// Listeners rather than iterators: they are what js-libp2p is fastest with.
await node.handle(ECHO, stream => {
  stream.addEventListener('message', event => { stream.send(event.data) })
  stream.addEventListener('remoteCloseWrite', () => { stream.close().catch(() => {}) })
}, many)

await node.handle(SINK, stream => {
  let size = 0
  stream.addEventListener('message', event => { size += event.data.byteLength })
  stream.addEventListener('remoteCloseWrite', () => {
    stream.send(new TextEncoder().encode(String(size)))
    stream.close().catch(() => {})
  })
}, many)

const open = protocol => connection.newStream(protocol, many)
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))
const seconds = started => (performance.now() - started) / 1000

// Its own `onDrain` waits only the first time: it keeps the promise that was fulfilled then.
const drained = stream => new Promise(resolve => {
  for (const event of ['drain', 'close']) stream.addEventListener(event, resolve, { once: true })
})

// Give a function that waits until as many bytes came as it is told.
function reader (stream) {
  let size = 0
  let wanted = Infinity
  let enough
  stream.addEventListener('message', event => {
    size += event.data.byteLength
    if (size >= wanted) enough()
  })
  return count => new Promise(resolve => {
    size -= count
    wanted = 0
    enough = () => { wanted = Infinity; resolve() }
    if (size >= 0) enough()
  })
}

// Close our side, and give what the other says until it closes its own.
async function end (stream) {
  let said = ''
  stream.addEventListener('message', event => { said += new TextDecoder().decode(event.data.subarray()) })
  const ended = new Promise(resolve => {
    for (const event of ['remoteCloseWrite', 'close']) stream.addEventListener(event, resolve, { once: true })
    if (stream.remoteWriteStatus === 'closed') resolve()
  })
  // It rejects if the other side is done before it has seen so itself.
  await stream.close().catch(() => {})
  await ended
  return said
}

const commands = {
  async connect ({ address, times }) {
    const taken = []
    for (let number = 0; number < times; number++) {
      if (connection !== undefined) {
        await connection.close()
        await pause(SETTLE_MILLISECONDS)
      }
      const started = performance.now()
      connection = await node.dial(multiaddr(address))
      taken.push(seconds(started))
      await pause(SETTLE_MILLISECONDS)
    }
    return { seconds: taken }
  },

  async open ({ times }) {
    const opened = []
    const echoed = []
    const message = new Uint8Array(64)
    for (let number = 0; number < times; number++) {
      const started = performance.now()
      const stream = await open(ECHO)
      opened.push(seconds(started))
      const read = reader(stream)
      stream.send(message)
      await read(64)
      echoed.push(seconds(started))
      await end(stream)
    }
    return { seconds: echoed, opened }
  },

  async open_negotiated ({ times }) {
    const taken = []
    for (let number = 0; number < times; number++) {
      const started = performance.now()
      const stream = await open(ECHO)
      taken.push(seconds(started))
      await end(stream)
    }
    return { seconds: taken }
  },

  async round_trip ({ times }) {
    const stream = await open(ECHO)
    const read = reader(stream)
    const message = new Uint8Array(64)
    const taken = []
    for (let number = 0; number <= times; number++) {
      const started = performance.now()
      stream.send(message)
      await read(64)
      taken.push(seconds(started))
    }
    await end(stream)
    return { seconds: taken.slice(1) }
  },

  async send ({ streams, size, block = BLOCK_BYTES }) {
    const data = new Uint8Array(block)
    const opened = []
    for (let number = 0; number < streams; number++) opened.push(await open(SINK))
    const started = performance.now()
    await Promise.all(opened.map(async stream => {
      const count = Math.floor(size / block / streams)
      for (let left = count; left > 0; left--) {
        if (!stream.send(data)) await drained(stream)
      }
      const received = Number(await end(stream))
      if (received !== count * block) throw new Error(`bytes were lost (sent=${count * block} received=${received})`)
    }))
    return { seconds: [seconds(started)] }
  }
}

const say = line => process.stdout.write(JSON.stringify(line) + '\n')

say({ address: node.getMultiaddrs()[0].toString() })
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  say(await commands[command.do](command))
}
process.exit(0)
