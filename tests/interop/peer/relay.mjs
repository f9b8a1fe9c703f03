// js-libp2p that relays for others, is reached through relays, and punches holes, as its documentation sets it up.

import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { dcutr } from '@libp2p/dcutr'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'

import { startNode } from './libp2p.mjs'

// `through` is the address of a relay to be reached through; without it, the node is a relay itself.
export async function startRelaying ({ security, through }) {
  const services = { identify: identify(), ping: ping() }
  const listen = ['/ip4/127.0.0.1/tcp/0']
  if (through === undefined) {
    services.relay = circuitRelayServer({ reservations: { maxReservations: 16, applyDefaultLimit: true } })
  } else {
    services.dcutr = dcutr()
    listen.push(`${through}/p2p-circuit`)
  }
  return startNode({
    security,
    options: { addresses: { listen }, transports: [tcp(), circuitRelayTransport()], services }
  })
}
