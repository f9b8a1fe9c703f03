// An independent peer that does what it is told: commands and answers are lines of JSON.
//
//   < {"id": 1, "do": "ping", "peer": "12D3KooW..."}        > {"id": 1, "gave": {"milliseconds": 0.4}}
//
// The stream protocols are those of tests/interop/scene.py.

import { createHash, randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'

import { startAutonatNode, verified } from './autonat.mjs'
import { startNode } from './libp2p.mjs'
import { startRelaying } from './relay.mjs'
import { checkRecord, shardKey } from './record.mjs'

const ECHO = '/interop/echo/1'
const SINK = '/interop/sink/1'
const SOURCE = '/interop/source/1'
const BLOCK_BYTES = 1 << 18

let node, network
const text = bytes => new TextDecoder().decode(bytes)
const bytesOf = string => new TextEncoder().encode(string)
const plain = data => data instanceof Uint8Array ? data : data.subarray()
const open = ({ peer }, protocol) => node.dialProtocol(peerIdFromString(peer), protocol, { runOnLimitedConnection: true })
const shardOf = async peer => CID.createV1(raw.code, await sha256.digest(bytesOf(shardKey(network, peer.toMultihash().bytes))))

async function write (stream, data) {
  if (!stream.send(data)) await stream.onDrain()
}

// Send `size` random bytes and close; give their hash.
async function pour (stream, size) {
  const hash = createHash('sha256')
  const block = randomBytes(BLOCK_BYTES)
  for (let left = size; left > 0; left -= block.length) {
    block.writeUInt32BE(left % 2 ** 32)
    const piece = Uint8Array.from(block.subarray(0, Math.min(left, block.length)))
    hash.update(piece)
    await write(stream, piece)
  }
  await stream.close()
  return hash.digest('hex')
}

async function drink (stream) {
  const hash = createHash('sha256')
  let size = 0
  for await (const data of stream) {
    hash.update(plain(data))
    size += data.byteLength
  }
  return { size, hash: hash.digest('hex') }
}

async function readAll (stream) {
  const parts = []
  for await (const data of stream) parts.push(plain(data))
  return Buffer.concat(parts)
}

const handlers = {
  [ECHO]: async stream => {
    for await (const data of stream) await write(stream, data)
    await stream.close()
  },
  [SINK]: async stream => {
    const drunk = await drink(stream)
    await write(stream, bytesOf(JSON.stringify(drunk)))
    await stream.close()
  },
  [SOURCE]: async stream => {
    for await (const data of stream) {
      await pour(stream, Number(text(plain(data))))
      return
    }
  }
}

async function eventsOf (iterable) {
  const events = []
  for await (const event of iterable) events.push(event)
  return events
}

const errors = events => events.filter(each => each.name === 'QUERY_ERROR').map(each => each.error.message)

// What may be told to do. Each gets the command and gives what is answered.
const commands = {
  async start (command) {
    network = command.network
    if (command.relaying) {
      node = await startRelaying(command)
    } else {
      node = await (command.autonat === undefined ? startNode(command) : startAutonatNode(command.autonat))
    }
    for (const [protocol, handle] of Object.entries(handlers)) {
      const quietly = async stream => { try { await handle(stream) } catch (error) { stream.abort(error) } }
      const options = { maxInboundStreams: 4096, maxOutboundStreams: 4096, runOnLimitedConnection: true }
      await node.handle(protocol, quietly, options)
    }
    return { peer: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) }
  },

  async dial ({ address }) {
    const connection = await node.dial(multiaddr(address))
    return { encryption: connection.encryption, multiplexer: connection.multiplexer }
  },

  // Which of its addresses others reach, as far as it knows.
  async verified () {
    return verified(node)
  },

  async connections ({ peer }) {
    return { open: node.getConnections(peerIdFromString(peer)).filter(each => each.status === 'open').length }
  },

  // Whether each connection to a peer has a relay's limits.
  async limited ({ peer }) {
    return { limited: node.getConnections(peerIdFromString(peer)).map(each => each.limits !== undefined) }
  },

  // Where it is reached through its relay, once that is known.
  async circuits () {
    for (;;) {
      const addresses = node.getMultiaddrs().map(String).filter(each => each.includes('/p2p-circuit'))
      if (addresses.length > 0) return { addresses }
      await new Promise(resolve => { node.addEventListener('self:peer:update', resolve, { once: true }) })
    }
  },

  async ping ({ peer }) {
    return { milliseconds: await node.services.ping.ping(peerIdFromString(peer)) }
  },

  async identified ({ peer }) {
    const known = await node.peerStore.get(peerIdFromString(peer))
    const addresses = known.addresses.map(each => each.multiaddr.toString())
    return { protocols: known.protocols, agent: text(known.metadata.get('AgentVersion')), addresses }
  },

  async echo (command) {
    const stream = await open(command, ECHO)
    await write(stream, bytesOf(command.text))
    await stream.close()
    return { text: text(await readAll(stream)) }
  },

  async send (command) {
    const stream = await open(command, SINK)
    const answer = readAll(stream)
    const sent = await pour(stream, command.size)
    return { sent, received: JSON.parse(text(await answer)) }
  },

  async receive (command) {
    const stream = await open(command, SOURCE)
    await write(stream, bytesOf(String(command.size)))
    return drink(stream)
  },

  // Abort streams in the middle of a read and of a write, by turns.
  async cancel (command) {
    for (let number = 0; number < command.count; number++) {
      const stream = await open(command, number % 2 ? SINK : SOURCE)
      if (number % 2) {
        stream.send(randomBytes(100_000))
      } else {
        await write(stream, bytesOf('100000000'))
        for await (const data of stream) { if (data.byteLength > 0) break }
      }
      stream.abort(new Error('changed its mind'))
    }
    return {}
  },

  // Open streams as fast as the muxer takes them, and reset or forget them.
  async flood (command) {
    const [connection] = node.getConnections(peerIdFromString(command.peer))
    let opened = 0
    let refused = 0
    const one = async number => {
      try {
        const stream = await connection.newStream([ECHO], { maxOutboundStreams: 1 << 20 })
        opened++
        stream.send(randomBytes(1000))
        if (number % 4 !== 0) stream.abort(new Error('flood'))
      } catch { refused++ }
    }
    for (let number = 0; number < command.count; number += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, each) => one(number + each)))
    }
    return { opened, refused }
  },

  async put ({ key, value }) {
    const events = await eventsOf(node.services.dht.put(bytesOf(key), Buffer.from(value, 'hex')))
    const kept = events.filter(each => each.name === 'PEER_RESPONSE' && each.messageName === 'PUT_VALUE').length
    return { kept, errors: errors(events) }
  },

  async get ({ key }) {
    const events = await eventsOf(node.services.dht.get(bytesOf(key)))
    const values = events.filter(each => each.name === 'VALUE').map(each => Buffer.from(each.value).toString('hex'))
    return { value: values.at(-1) ?? null, errors: errors(events) }
  },

  async provide () {
    const events = await eventsOf(node.services.dht.provide(await shardOf(node.peerId)))
    return { errors: errors(events) }
  },

  async find ({ peer }) {
    const events = await eventsOf(node.services.dht.findProviders(await shardOf(peerIdFromString(peer))))
    const providers = events.filter(each => each.name === 'PROVIDER').flatMap(each => each.providers)
    return { providers: [...new Set(providers.map(each => each.id.toString()))], errors: errors(events) }
  },

  async check ({ key, value }) {
    try {
      return checkRecord(bytesOf(key), Buffer.from(value, 'hex'), network)
    } catch (error) {
      return { refused: error.message }
    }
  }
}

const say = line => process.stdout.write(JSON.stringify(line) + '\n')

createInterface({ input: process.stdin }).on('line', async line => {
  const command = JSON.parse(line)
  try {
    say({ id: command.id, gave: await commands[command.do](command) })
  } catch (error) {
    say({ id: command.id, failed: `${error.name}: ${error.message}` })
  }
}).on('close', () => process.exit(0))
