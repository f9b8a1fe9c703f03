// js-libp2p as its own documentation sets it up, on our DHT's protocol id.

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'

import { checkRecord } from './record.mjs'

// js-libp2p is written for Node 22, which has this; nothing else of what is used here is missing in 20.
Promise.withResolvers ??= function withResolvers () {
  let resolve, reject
  const promise = new Promise((...both) => { [resolve, reject] = both })
  return { promise, resolve, reject }
}

// Without a network's name there is no DHT. `options` are more of libp2p's own.
export async function startNode ({ security, network, options = {} }) {
  const { createLibp2p } = await import('libp2p')
  const many = 4096
  const services = { identify: identify(), ping: ping() }
  if (network !== undefined) {
    services.dht = kadDHT({
      protocol: `/cocoon/${network}/kad/1`,
      clientMode: false,
      peerInfoMapper: passthroughMapper,
      validators: { cocoon: (key, value) => { checkRecord(key, value, network) } },
      selectors: { cocoon: (_key, values) => values.length - 1 }
    })
  }
  return createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [security === 'tls' ? tls() : noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    connectionManager: { maxConnections: many, inboundConnectionThreshold: many },
    services,
    ...options
  })
}
